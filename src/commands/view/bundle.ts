// Makes the files of the page from their source.

import { basename, join } from "node:path";

const source = join(import.meta.dir, "page");

/** The texts of the page's files, by their names. Nothing in them needs another file, or another host. */
export async function bundlePage(): Promise<Record<string, string>> {
  const licence = await Bun.file(Bun.resolveSync("uplot/LICENSE", source)).text();
  const { outputs } = await Bun.build({
    entrypoints: [join(source, "page.ts"), join(source, "page.css")],
    target: "browser",
    format: "esm",
    minify: true,
    banner: `/*! The charts are drawn by uPlot.\n\n${licence.trim()}\n*/`,
  });
  const texts: Record<string, string> = {};
  for (const output of outputs) texts[basename(output.path)] = await output.text();
  for (const name of ["index.html", "icon.svg"]) texts[name] = await Bun.file(join(source, name)).text();
  return texts;
}
