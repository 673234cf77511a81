// The notices of everything that is inside an executable or the npm package: THIRD-PARTY-NOTICES.txt.

import { join } from "node:path";
import full from "spdx-license-list/full.js";
import { root } from "../build-native.ts";
import type { Bill, Component } from "./bill.ts";
import { bunPage, partsOfBun } from "./bun.ts";

/** Where the notices are. The program prints them, and archives and packages have a copy. */
export const noticesPath = join(root, "THIRD-PARTY-NOTICES.txt");

const LINE = "=".repeat(80);

/**
 * The notices of what a bill lists.
 *
 * @throws if a package comes with neither the text of its licence nor the name of a licence that everybody knows.
 */
export function notices({ components }: Bill): string {
  const parts = partsOfBun(bunPage());
  const named = new Set([...parts.flatMap(({ licences }) => licences)].sort());
  const bun = [
    `Bun ${Bun.version} (MIT)`,
    "Executables contain it; the npm package does not. https://github.com/oven-sh/bun",
    textOf("MIT"),
    "What Bun says about its licences and those of what it contains:",
    bunPage(),
    "The licences that are named there, by their parts:",
    parts.map(({ name, url, licences }) => `${name}: ${licences.join(", ")}\n    ${url}`).join("\n"),
  ];
  const sections = [
    "zerobuffer is made with the software below. The licence of zerobuffer itself is in LICENSE.",
    ...components.filter(({ name }) => name !== "bun").map(noticeOf),
    bun.join("\n\n"),
    ...[...named].map((id) => `The licence ${id}\n\n${textOf(id)}`),
  ];
  return sections.map((section) => `${section.trim()}\n`).join(`\n${LINE}\n\n`);
}

function noticeOf({ group, name, version, licenses = [], evidence }: Component): string {
  const own = evidence?.licenses?.map(({ license }) => decoded(license.text)) ?? [];
  const ids = licenses.map(({ license, expression }) => license?.id ?? expression ?? "");
  const texts = own.length > 0 ? own : ids.map(textOf);
  const title = `${group === undefined ? "" : `${group}/`}${name} ${version} (${ids.join(", ")})`;
  if (texts.length === 0) throw new Error(`${title} comes without a licence`);
  return [title, ...texts].join("\n\n");
}

function decoded({ content, encoding }: { content: string; encoding?: "base64" }): string {
  return (encoding === "base64" ? Buffer.from(content, "base64").toString() : content).replaceAll(
    "\r\n",
    "\n",
  );
}

/** The text of a licence that is known by name. */
function textOf(id: string): string {
  const text = full[id]?.licenseText;
  if (text === undefined) throw new Error(`there is no text of the licence ${id}`);
  return text.replaceAll("\r\n", "\n").trim();
}
