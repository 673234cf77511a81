// No link of a page is dead, and every page and example can be reached from the README.

import { expect, test } from "bun:test";
import { existsSync, readdirSync, statSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { root } from "../../../scripts/build-native.ts";
import { anchorsOf, linksOf, PAGES, textOf } from "../../support/pages.ts";

const isWeb = (link: string) => /^[a-z]+:/i.test(link);

/** The path from the root that a link of a page leads to. */
function fileOf(page: string, link: string): string {
  const [target = ""] = link.split("#");
  return target === "" ? page : normalize(join(dirname(page), target));
}

test.each(PAGES)("%s has no dead link", (page) => {
  const dead = linksOf(textOf(page)).filter((link) => {
    if (isWeb(link)) return !URL.canParse(link);
    const file = fileOf(page, link);
    if (file.startsWith("..") || !existsSync(join(root, file))) return true;
    const [, anchor] = link.split("#");
    return anchor !== undefined && !anchorsOf(textOf(file)).has(anchor);
  });
  expect(dead).toEqual([]);
});

test("every page, picture and example is linked from the README or a page that it links to", () => {
  const reached = new Set(["README.md"]);
  for (const page of reached) {
    for (const link of linksOf(page.endsWith(".md") ? textOf(page) : "")) {
      const file = fileOf(page, link).replace(/\/$/, "");
      if (!isWeb(link) && existsSync(join(root, file))) reached.add(file);
    }
  }
  const published = ["docs", "docs/dev", "examples"].flatMap((directory) =>
    readdirSync(join(root, directory), { withFileTypes: true }).map((entry) => join(directory, entry.name)),
  );
  const isLinked = (path: string) =>
    reached.has(path) ||
    (statSync(join(root, path)).isDirectory() &&
      [...reached].some((file) => !relative(path, file).startsWith("..")));
  expect(published.filter((path) => !isLinked(path))).toEqual([]);
});
