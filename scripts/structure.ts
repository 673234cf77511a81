// The rules of the layout (ARCHITECTURE.md), which `bun run check` and a test hold the source against.
//
//   structure.ts   prints what breaks a rule, and fails if anything does

import { readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { root } from "./build-native.ts";

/** The layers from the top down. A file imports from its own layer and from those below, never from one above. */
const LAYERS: readonly (readonly string[])[] = [
  ["src/main.ts"],
  ["src/commands/"],
  ["src/schemas/"],
  ["src/cli/"],
  ["src/frames/"],
  ["src/core/"],
  ["src/native/"],
  ["src/runtime/"],
];

/** All that other layers import of the core. */
const PUBLIC_CORE = ["src/core/index.ts", "src/core/inspection.ts"];

/** The only file that knows the foreign-function interface. */
const FOREIGN_FUNCTIONS = "src/native/symbols.ts";

const MOST_LINES = 450;

/** Sources by path, as git has them. */
export type Sources = ReadonlyMap<string, string>;

/** Everything that breaks a rule of the layout, one sentence each. */
export function violations(sources: Sources): string[] {
  const imports = new Map(
    [...sources].filter(isTypeScript).map(([path, text]) => [path, importsOf(path, text)]),
  );
  return [...wrongArrows(imports), ...cycles(imports), ...longFiles(sources), ...flagsInCore(sources)];
}

/** The files that a source imports by a relative path, types and dynamic imports included. */
function importsOf(path: string, text: string): string[] {
  const specifiers = text.matchAll(/(?:\bfrom\s+|\bimport\s*\(?\s*)"([^"]+)"/g);
  return [...specifiers].map(([, specifier = ""]) =>
    specifier.startsWith(".") ? normalize(join(dirname(path), specifier)) : specifier,
  );
}

function wrongArrows(imports: ReadonlyMap<string, readonly string[]>): string[] {
  return [...imports].flatMap(([path, targets]) =>
    targets.flatMap((target) => {
      if (target === "bun:ffi" && path !== FOREIGN_FUNCTIONS)
        return [`${path} imports bun:ffi: only ${FOREIGN_FUNCTIONS} does`];
      const [from, to] = [layerOf(path), layerOf(target)];
      if (from === undefined || to === undefined) return [];
      if (to < from) return [`${path} imports ${target}, which is in a layer above it`];
      const isOutside = LAYERS[from]?.[0] !== "src/core/" && target.startsWith("src/core/");
      return isOutside && !PUBLIC_CORE.includes(target)
        ? [`${path} imports ${target}: of the core, only ${PUBLIC_CORE.join(" and ")} are public`]
        : [];
    }),
  );
}

function layerOf(path: string): number | undefined {
  const layer = LAYERS.findIndex((places) => places.some((place) => path.startsWith(place)));
  return layer === -1 ? undefined : layer;
}

/** Each cycle of imports once, beginning with its file that comes first by name. */
function cycles(imports: ReadonlyMap<string, readonly string[]>): string[] {
  const found = new Set<string>();
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]) => {
    const at = trail.indexOf(path);
    if (at !== -1) {
      const cycle = trail.slice(at);
      const first = cycle.indexOf([...cycle].sort()[0] ?? path);
      const turned = [...cycle.slice(first), ...cycle.slice(0, first)];
      found.add(`a cycle of imports: ${[...turned, turned[0]].join(" → ")}`);
      return;
    }
    if (done.has(path)) return;
    for (const target of imports.get(path) ?? []) visit(target, [...trail, path]);
    done.add(path);
  };
  for (const path of imports.keys()) visit(path, []);
  return [...found];
}

function longFiles(sources: Sources): string[] {
  return [...sources].flatMap(([path, text]) => {
    const lines = text.split("\n").length - 1;
    return lines > MOST_LINES ? [`${path} has ${lines} lines: at most ${MOST_LINES} fit a file`] : [];
  });
}

/** The core names options and functions of the API; the command line translates them (src/cli/flags.ts). */
function flagsInCore(sources: Sources): string[] {
  return [...sources].flatMap(([path, text]) => {
    // Other programs' flags are theirs.
    const own = text.replace(/docker run --[a-z-]+/g, "");
    const word =
      /--[a-z][a-z-]+|\bzerobuffer (?:bench|clean|doctor|inspect|list|reader|record|relay|replay|writer)\b/.exec(
        own,
      )?.[0];
    if (word === undefined || !path.startsWith("src/core/")) return [];
    return [`${path} names ${word}: the core names options and functions of the API`];
  });
}

function isTypeScript([path]: readonly [string, string]): boolean {
  return path.endsWith(".ts") && !path.endsWith(".d.ts");
}

/** What the checkout has under src, new files included. */
export function checkedOutSources(): Sources {
  const { stdout } = Bun.spawnSync(["git", "ls-files", "--cached", "--others", "--exclude-standard", "src"], {
    cwd: root,
  });
  const paths = stdout
    .toString()
    .split("\n")
    .filter((path) => /\.(ts|c|h|js)$/.test(path));
  return new Map(paths.map((path) => [path, readFileSync(join(root, path), "utf8")]));
}

if (import.meta.main) {
  const found = violations(checkedOutSources());
  for (const violation of found) console.error(violation);
  process.exitCode = found.length > 0 ? 1 : 0;
}
