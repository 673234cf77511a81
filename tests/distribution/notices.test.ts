import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { root } from "../../scripts/build-native.ts";
import { type Bill, billOfMaterials } from "../../scripts/licences/bill.ts";
import { bunPage, partsOfBun } from "../../scripts/licences/bun.ts";
import { notices, noticesPath } from "../../scripts/licences/notices.ts";

const bill: Bill = await billOfMaterials();
const published = readFileSync(noticesPath, "utf8");

/** The packages whose files Bun has read for the program, by itself and not by the bill. */
async function bundledPackages(): Promise<string[]> {
  const { metafile } = await Bun.build({
    entrypoints: ["src/main.ts", "src/core/index.ts", "src/core/inspection.ts"].map((path) =>
      join(root, path),
    ),
    target: "bun",
    external: ["*.so"],
    metafile: true,
  });
  const packages = Object.values(metafile?.outputs ?? {})
    .flatMap(({ inputs }) => Object.keys(inputs))
    .flatMap((path) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? []);
  return [...new Set(packages)].sort();
}

test("the notices are those of this source: otherwise `bun run build:notices` makes them", () => {
  expect(published === notices(bill)).toBe(true);
});

test("every bundled package is in the bill and in the notices, with its version and the text of its licence", async () => {
  const packages = await bundledPackages();
  expect(packages).toContain("uplot");
  const listed = bill.components.map(({ group, name }) => (group === undefined ? name : `${group}/${name}`));
  expect(listed.sort()).toEqual([...packages, "bun"].sort());
  for (const name of packages) {
    const { version } = JSON.parse(readFileSync(join(root, "node_modules", name, "package.json"), "utf8"));
    const [, notice = ""] = published.split(`\n${name} ${version} (`);
    expect(notice.split("=====")[0]).toMatch(/copyright|Apache License/i);
  }
});

describe("of Bun", () => {
  const page = bunPage();

  test("every part that its page names has its licences in the notices, in full", () => {
    const places = [...page.matchAll(/^\| .*?\]\((.*?)\)/gm)].map(([, place = ""]) => place);
    expect(places.length).toBeGreaterThan(40);
    const texts = new Map(
      published.split(/^=+\n\nThe licence /m).map((section) => {
        const [id = "", ...text] = section.split("\n");
        return [id, text.join("\n").trim()];
      }),
    );
    for (const place of places) {
      const [before = "", after] = published.split(`\n    ${place}\n`);
      expect([place, after]).toEqual([place, expect.any(String)]);
      const ids = (before.split("\n").at(-1)?.split(": ")[1] ?? "").split(", ");
      for (const id of ids)
        expect([place, id, (texts.get(id) ?? "").length > 200]).toEqual([place, id, true]);
    }
    expect(texts.get("LGPL-2.0-only")).toStartWith("GNU LIBRARY GENERAL PUBLIC LICENSE");
    expect(published.includes(page.trim())).toBe(true);
  });

  test("a part or a licence that is new stops the build", () => {
    const row = "| [`zlib-ng`](https://github.com/zlib-ng/zlib-ng) | Beerware |\n";
    expect(() => partsOfBun(`${page}\n${row}`)).toThrow('Bun\'s licences say "Beerware" of zlib-ng');
    expect(() => partsOfBun(`${page}\n## Fonts\n`)).toThrow("have the sections");
    expect(() => partsOfBun(page.replace("(and WebKit)", ""))).toThrow("do not tell of JavaScriptCore");
  });
});

test("a package without a licence stops the build", () => {
  const component = { type: "library", name: "nobody", version: "1.0.0" };
  expect(() => notices({ components: [component] })).toThrow("nobody 1.0.0 () comes without a licence");
});

test("the bill is CycloneDX, and the same wherever it is made", async () => {
  const own = createRequire(createRequire(import.meta.path).resolve("@cyclonedx/cyclonedx-esbuild"));
  const { Spec, Validation } = own("@cyclonedx/cyclonedx-library");
  const text = JSON.stringify(bill);
  expect(await new Validation.JsonStrictValidator(Spec.Version.v1dot6).validate(text)).toBeNull();
  const broken = JSON.stringify({ ...bill, components: [{ name: "nobody" }] });
  expect(await new Validation.JsonStrictValidator(Spec.Version.v1dot6).validate(broken)).not.toBeNull();
  expect(text).not.toContain(root);
  expect(text).not.toMatch(/"timestamp"|serialNumber/);
  expect(await billOfMaterials()).toEqual(bill);
});
