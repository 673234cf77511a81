// The types of the public API, and nothing else of this source, for programs that use the npm package.

import { rollup } from "rollup";
import { dts } from "rollup-plugin-dts";

/**
 * What declarations begin with that use AbortSignal or Disposable. AbortSignal is that of the program's own types, of Bun, of
 * Node or of the DOM; a program that has none cannot use it.
 */
const intro = `/// <reference lib="esnext.disposable" />

type AbortSignal = typeof globalThis extends { AbortSignal: { prototype: infer Signal } } ? Signal : never;
`;

/**
 * Makes the declarations of some sources, with their docstrings.
 *
 * @param entries sources by the names of their declarations, without the suffix.
 * @returns the declarations by file name. What several of them need is in one more file.
 * @throws if anything but the types of these sources is needed: those of Bun, of Node, or of other packages.
 */
export async function declarations(entries: Readonly<Record<string, string>>): Promise<Map<string, string>> {
  const bundle = await rollup({
    input: { ...entries },
    external: /^(bun|node):/,
    plugins: [dts({ compilerOptions: { stripInternal: true } })],
  });
  const { output } = await bundle.generate({ format: "es", chunkFileNames: "shared.d.ts" });
  await bundle.close();
  const files = output.flatMap((file) => (file.type === "chunk" ? [file] : []));
  for (const { fileName, imports, code } of files) {
    const foreign = imports.filter((name) => !files.some((file) => file.fileName === name));
    if (/\b(NodeJS|Bun|Buffer)\b/.test(code.replaceAll(/\/\*[\s\S]*?\*\//g, "")))
      foreign.push("types of Bun");
    if (foreign.length > 0) throw new Error(`${fileName} needs ${foreign.join(", ")}`);
  }
  return new Map(
    files.map(({ fileName, code }) => [fileName, code.includes("AbortSignal") ? intro + code : code]),
  );
}
