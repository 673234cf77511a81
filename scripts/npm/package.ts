// Makes the npm package: JavaScript for Bun with its types and source maps, the command line, and helpers.

import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import metadata from "../../package.json";
import { commitOf } from "../../src/cli/checkout.ts";
import { type Entry, tarGz } from "../binaries/archive.ts";
import { root } from "../build-native.ts";
import { definePage } from "../executable.ts";
import { withAddress } from "../release/table.ts";
import type { Target } from "../targets.ts";
import { chooseHelper, helperPlace } from "./helpers.ts";
import { declarations } from "./types.ts";

/** What programs import, by the names of the files. */
const API = { index: "src/core/index.ts", inspection: "src/core/inspection.ts" };

/** A helper, and the target that it is for. */
export interface Helper {
  readonly target: Target;
  readonly path: string;
}

/** The file name of the package. */
export const packageFile = `zerobuffer-${metadata.version}.tgz`;

/**
 * The package, as npm wants it: the same bytes for the same commit.
 *
 * @param time that of every file in it.
 * @param repository the address that it was made from, as a release knows it.
 */
export async function npmPackage(
  helpers: readonly Helper[],
  time: Date,
  repository?: string,
): Promise<Uint8Array> {
  const code = await bundle(helpers.map(({ target }) => target));
  const types = await declarations(
    Object.fromEntries(Object.entries(API).map(([name, path]) => [name, join(root, path)])),
  );
  const entries: Entry[] = [
    text("package.json", `${JSON.stringify(manifest(repository), undefined, 2)}\n`),
    text("README.md", withAddress(readFileSync(join(root, "README.md"), "utf8"), repository)),
    ...["LICENSE", "THIRD-PARTY-NOTICES.txt", "CHANGELOG.md"].map((name) => ({
      name,
      content: readFileSync(join(root, name)),
    })),
    {
      name: "bin/zerobuffer.js",
      content: readFileSync(join(import.meta.dir, "zerobuffer.js")),
      isExecutable: true,
    },
    text("lib/needs-bun.js", await needsBun()),
    ...[...code, ...types].map(([name, content]) => text(`lib/${name}`, content)),
    ...helpers.map(({ target, path }) => ({ name: helperPlace(target), content: readFileSync(path) })),
  ];
  return await tarGz(
    entries.map((entry) => ({ ...entry, name: `package/${entry.name}` })),
    time,
  );
}

function text(name: string, content: string): Entry {
  return { name, content: Buffer.from(content) };
}

/** The JavaScript and its source maps by file name. Other packages are bundled: who installs this one gets no other. */
async function bundle(targets: readonly Target[]): Promise<Map<string, string>> {
  /** The package has these notices as a file, which `zerobuffer --licenses` reads. */
  const leaveNotices: Bun.BunPlugin = {
    name: "notices of the package",
    setup(build) {
      build.onResolve({ filter: /\/THIRD-PARTY-NOTICES\.txt$/ }, () => ({
        path: "../THIRD-PARTY-NOTICES.txt",
        external: true,
      }));
    },
  };
  const { outputs } = await Bun.build({
    entrypoints: [...Object.values(API), "src/main.ts"].map((path) => join(root, path)),
    root,
    target: "bun",
    format: "esm",
    // Names stay as they are: stack traces are readable without the maps, too.
    minify: { whitespace: true, syntax: true },
    splitting: true,
    sourcemap: "linked",
    naming: { entry: "[name].[ext]", chunk: "[name]-[hash].[ext]" },
    external: ["*.so", "*.dylib", "*.dll"],
    define: { BUILD_COMMIT: JSON.stringify(commitOf()), ...(await definePage()) },
    plugins: [chooseHelper(targets), leaveNotices],
  });
  return new Map(
    await Promise.all(
      outputs.map(async (output): Promise<[string, string]> => {
        const text = await output.text();
        return [basename(output.path), output.kind === "sourcemap" ? withoutSources(text) : text];
      }),
    ),
  );
}

/** A source map without the text of the sources, which is larger than the code; of other packages' code, one that maps nothing. */
function withoutSources(map: string): string {
  const { sources, ...rest } = JSON.parse(map) as { sources: string[] };
  const isForeign = sources.every((path) => path.startsWith("node_modules/"));
  if (isForeign) return JSON.stringify({ version: 3, sources: [], mappings: "" });
  // Bun refuses a map without this field.
  return JSON.stringify({ ...rest, sources, sourcesContent: sources.map(() => null) });
}

/** What other runtimes load in place of the API: all its names, as an import of a missing one would be another error. */
async function needsBun(): Promise<string> {
  const modules: object[] = await Promise.all(Object.values(API).map((path) => import(join(root, path))));
  const names = new Set(modules.flatMap((module) => Object.keys(module)));
  return [
    "// Loaded instead of the API by everything but Bun.",
    `export let ${[...names].sort().join(", ")};`,
    `throw new Error("zerobuffer needs Bun ${metadata.engines.bun.slice(2)} or newer: start this program with bun instead of node");\n`,
  ].join("\n");
}

function manifest(repository: string | undefined): object {
  const { name, version, description, license, type, sideEffects, engines } = metadata;
  const entry = (file: string) => ({
    types: `./lib/${file}.d.ts`,
    bun: `./lib/${file}.js`,
    default: "./lib/needs-bun.js",
  });
  return {
    ...{ name, version, description, license, type, sideEffects },
    keywords: ["shared-memory", "ipc", "zero-copy", "video", "bun"],
    ...(repository !== undefined && {
      repository: { type: "git", url: `git+${repository}.git` },
      homepage: `${repository}#readme`,
      bugs: `${repository}/issues`,
    }),
    bin: { zerobuffer: "bin/zerobuffer.js" },
    exports: { ".": entry("index"), "./inspection": entry("inspection"), "./package.json": "./package.json" },
    engines,
    os: ["linux", "darwin", "win32"],
    cpu: ["x64", "arm64"],
  };
}
