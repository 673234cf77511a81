// What programs import: the entry points of the package, and the docstrings of what they export.

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { checkedOutSources } from "../../../scripts/structure.ts";

const root = join(import.meta.dir, "..", "..", "..");
const sources = [...checkedOutSources()].filter(([path]) => path.startsWith("src/core/"));
const entryPoints: Record<string, string> = JSON.parse(
  readFileSync(join(root, "package.json"), "utf8"),
).exports;

test("the package has one entry point for channels and buffers, and one for looking after them", async () => {
  expect(Object.keys(entryPoints)).toEqual([".", "./inspection"]);
  // By variables: the names mean this package itself, which is no dependency of its own.
  const [main, inspection] = ["zerobuffer", "zerobuffer/inspection"];
  expect((await import(main)).Reader).toBeFunction();
  expect((await import(inspection)).listBuffers).toBeFunction();
});

/** The names that an entry point exports, types included. */
function exportsOf(path: string): string[] {
  const text = readFileSync(join(root, path), "utf8");
  const listed = [...text.matchAll(/export (?:type )?\{([^}]*)\}/g)].flatMap(([, names = ""]) =>
    names.split(",").map((name) => name.trim().replace(/^type /, "")),
  );
  const starred = [...text.matchAll(/export \* from "\.\/([^"]+)"/g)].flatMap(([, file = ""]) => {
    const source = readFileSync(join(root, "src/core", file), "utf8");
    return [...source.matchAll(/^export (?:class|interface|type|const|function) (\w+)/gm)].map(
      ([, name = ""]) => name,
    );
  });
  return [...listed, ...starred].filter((name) => name !== "");
}

/** The lines of a declaration, and the line before it. */
function declarationOf(name: string): { before: string; lines: string[] } | undefined {
  const start = new RegExp(`^export (?:abstract )?(?:class|interface|type|const|function) ${name}\\b`);
  for (const [, text] of sources) {
    const lines = text.split("\n");
    const first = lines.findIndex((line) => start.test(line));
    if (first < 0) continue;
    const length = lines.slice(first).findIndex((line) => /^[})\]]/.test(line));
    return {
      before: lines[first - 1] ?? "",
      lines: lines.slice(first, length < 0 ? undefined : first + length),
    };
  }
  return undefined;
}

const isDocumented = (before: string) => /\*\/$/.test(before.trim());

/** Members of a class or an interface that a program can use and that have no docstring. */
function bareMembersOf(lines: string[]): string[] {
  if (!/^export (?:abstract )?(?:class|interface) /.test(lines[0] ?? "")) return [];
  const member = /^ {2}(?:static |readonly |override |get |async )*(\w+|\[Symbol\.\w+\])(?:\?)?[(:<]/;
  return lines.flatMap((line, index) => {
    const name = member.exec(line)?.[1];
    // What has an overload or a getter before it is documented there; `name` and `cause` are those of Error.
    const isRepeated = lines.slice(0, index).some((earlier) => member.exec(earlier)?.[1] === name);
    if (name === undefined || isRepeated || name === "constructor" || /^ {2}override /.test(line)) return [];
    return isDocumented(lines[index - 1] ?? "") ? [] : [name];
  });
}

test.each(Object.values(entryPoints).flatMap(exportsOf))("%s has docstrings", (name) => {
  const declaration = declarationOf(name);
  if (declaration === undefined) throw new Error(`no declaration of ${name}`);
  expect({ name, isDocumented: isDocumented(declaration.before) }).toEqual({ name, isDocumented: true });
  // A constant of the same name as its type comes first.
  expect({ name, bare: bareMembersOf(declaration.lines) }).toEqual({ name, bare: [] });
});
