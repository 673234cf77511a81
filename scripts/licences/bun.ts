// What Bun contains, and so every executable, with the licences: from the page about that which comes with Bun's types.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** A part of Bun. */
export interface Part {
  readonly name: string;
  readonly url: string;
  /** The licences that apply, as SPDX names them. */
  readonly licences: readonly string[];
}

const resolve = createRequire(import.meta.path).resolve;
const types = dirname(createRequire(resolve("@types/bun/package.json")).resolve("bun-types/package.json"));

/** The licences that the page's phrases mean. Of two to choose from, the one that asks less is chosen. */
const LICENCES: Readonly<Record<string, readonly string[]>> = {
  MIT: ["MIT"],
  "MIT licensed": ["MIT"],
  "MIT (bundled xxhash is BSD 2-Clause)": ["MIT", "BSD-2-Clause"],
  "MIT (portions derived from Chromium proto-quic, BSD 3-Clause)": ["MIT", "BSD-3-Clause"],
  "dual-licensed under the Perl License or the MIT License": ["MIT"],
  "dual-licensed under the BSD License or GPLv2 license": ["BSD-3-Clause"],
  "dual-licensed under CC0 1.0 or the BSD 2-Clause License": ["BSD-2-Clause"],
  "BSD 2-Clause": ["BSD-2-Clause"],
  "BSD 2-Clause (portions derived from libpng, PNG Reference Library License v2)": [
    "BSD-2-Clause",
    "libpng-2.0",
  ],
  "BSD 3-Clause": ["BSD-3-Clause"],
  "BSD 3-Clause / IJG / zlib": ["BSD-3-Clause", "IJG", "Zlib"],
  "Apache 2.0": ["Apache-2.0"],
  "Apache 2.0 licensed": ["Apache-2.0"],
  "LGPL v2.1": ["LGPL-2.1-only"],
  zlib: ["Zlib"],
  "ICU license": ["Unicode-3.0", "ICU"],
  "public domain": ["blessing"],
};

/** Those of "several licenses", by the name of the part. */
const SEVERAL: Readonly<Record<string, readonly string[]>> = {
  boringssl: ["Apache-2.0", "OpenSSL", "ISC", "MIT", "BSD-3-Clause"],
  libarchive: ["BSD-2-Clause", "BSD-3-Clause", "CC0-1.0"],
};

/** What the page tells in sentences. */
const IN_SENTENCES: readonly (Part & { readonly sentence: string })[] = [
  {
    name: "JavaScriptCore and WebKit",
    url: "https://github.com/oven-sh/webkit",
    licences: ["LGPL-2.0-only", "BSD-2-Clause"],
    sentence: "Bun statically links JavaScriptCore (and WebKit), which is LGPL-2 licensed.",
  },
  {
    name: "esbuild",
    url: "https://github.com/evanw/esbuild",
    licences: ["MIT"],
    sentence: "is a port of [@evanw](https://github.com/evanw)’s [esbuild]",
  },
  {
    name: "Lightning CSS",
    url: "https://github.com/parcel-bundler/lightningcss",
    licences: ["MPL-2.0"],
    sentence: "is derived from the [Lightning CSS]",
  },
  {
    name: "Servo",
    url: "https://github.com/servo/servo",
    licences: ["MPL-2.0"],
    sentence: "and [Servo](https://github.com/servo/servo) projects",
  },
];

/**
 * The page, in Markdown.
 *
 * @throws if it is that of another Bun than this one, which is in the executables.
 */
export function bunPage(): string {
  const { version } = JSON.parse(readFileSync(join(types, "package.json"), "utf8"));
  if (version !== Bun.version)
    throw new Error(`the licences are those of Bun ${version}, and this is Bun ${Bun.version}`);
  const page = readFileSync(join(types, "docs", "project", "license.mdx"), "utf8");
  return page.replace(/^---\n.*?\n---\n+/s, "");
}

/**
 * What a page tells of.
 *
 * @throws if it tells of a part or a licence that is not known here.
 */
export function partsOfBun(page: string): Part[] {
  for (const { name, sentence } of IN_SENTENCES)
    if (!page.includes(sentence)) throw new Error(`Bun's licences do not tell of ${name} as they did`);
  const sections = page.match(/^#.*/gm)?.join() ?? "";
  if (sections !== "## JavaScriptCore,## Linked libraries,## Polyfills,## Additional credits")
    throw new Error(`Bun's licences have the sections ${sections}`);
  const rows = [...page.matchAll(/^\| (.*?) +\| (.*?) +\|$/gm)].filter(([, name]) => /\[/.test(name ?? ""));
  const inTables = rows.map(([, cell = "", licence = ""]): Part => {
    const name = plain(cell);
    const phrase = plain(licence);
    const licences = phrase === "several licenses" ? SEVERAL[name] : LICENCES[phrase];
    if (licences === undefined) throw new Error(`Bun's licences say "${phrase}" of ${name}: what is that?`);
    return { name, url: /\]\((.*?)\)/.exec(cell)?.[1] ?? "", licences };
  });
  return [...IN_SENTENCES.map(({ name, url, licences }) => ({ name, url, licences })), ...inTables];
}

/** Markdown without its marks. */
function plain(markdown: string): string {
  return markdown.replaceAll(/\[(.*?)\]\(.*?\)/g, "$1").replaceAll("`", "");
}
