// What docs/protocol.md says is what the code does, and what comments cite is there.

import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import {
  DuplexChannelFactory,
  type Frame,
  InvalidNameError,
  Reader,
  Writer,
} from "../../../src/core/index.ts";
import { uniqueName } from "../../support/buffers.ts";
import { anchorsOf } from "../../support/pages.ts";

const root = join(import.meta.dir, "..", "..", "..");
const pageOf = (path: string) => readFileSync(join(root, path), "utf8");
const page = pageOf("docs/protocol.md");
const header = pageOf("src/native/c/zerobuffer.h");
const onLinux = test.skipIf(process.platform !== "linux");

// ---- reading the page ----------------------------------------------------------------------------------------------

type Row = Readonly<Record<string, string>>;

const stripMarkup = (cell: string) => cell.replaceAll("`", "").trim();

/** The tables of a text, each a list of rows by the names of their columns. */
function tablesIn(text: string): Row[][] {
  return [...text.matchAll(/(?:^\|.*\n)+/gm)].map(([table]) => {
    const [names = [], , ...rows] = table
      .trim()
      .split("\n")
      .map((line) => line.split("|").slice(1, -1).map(stripMarkup));
    return rows.map((cells) => Object.fromEntries(names.map((name, i) => [name, cells[i] ?? ""])));
  });
}

/** The table under a heading, which has to have these columns. */
function tableUnder(heading: string, ...columns: string[]): Row[] {
  const tables = tablesIn(textUnder(heading));
  const found = tables.find(([row]) => columns.every((column) => column in (row ?? {})));
  if (found === undefined) throw new Error(`no table with ${columns.join(", ")} under "${heading}"`);
  return found;
}

/** What stands under a heading, up to the next one of its level or above. */
function textUnder(heading: string): string {
  const level = /^#+/.exec(heading)?.[0].length ?? 0;
  const lines = page.split("\n");
  const first = lines.findIndex((line) => line.startsWith(`${heading} `)) + 1;
  if (first === 0) throw new Error(`no heading "${heading}"`);
  const length = lines.slice(first).findIndex((line) => new RegExp(`^#{1,${level}} `).test(line));
  return lines.slice(first, length < 0 ? undefined : first + length).join("\n");
}

const field = (row: Row, column: string) => row[column] ?? "";
const number = (row: Row, column: string) => Number(field(row, column) || Number.NaN);

/** How many words of how many bits a type has, as the page writes it: u64, or 2 × u64. */
function wordsOf(type: string): { count: number; bits: number } {
  const [, count = "1", bits] = /^(?:(\d+) × )?u(\d+)$/.exec(type) ?? [];
  return { count: Number(count), bits: Number(bits) };
}

/** Bytes of a type. */
function sizeOf(type: string): number {
  const { count, bits } = wordsOf(type);
  return (count * bits) / 8;
}

// ---- reading the header --------------------------------------------------------------------------------------------

interface Field {
  readonly field: string;
  readonly type: string;
  readonly offset: number;
  readonly size: number;
}

/** The fields of a struct of zerobuffer.h: their types from its declaration, their offsets from its static asserts. */
function fieldsOf(struct: string): Field[] {
  const body = new RegExp(`struct ${struct} \\{([^}]*)\\}`).exec(header)?.[1] ?? "";
  return [...body.matchAll(/uint(\d+)_t (\w+)(?:\[(\d+)\])?;/g)].map(([, bits, name = "", count]) => {
    const type = count === undefined ? `u${bits}` : `${count} × u${bits}`;
    const assertion = new RegExp(`offsetof\\(struct ${struct}, ${name}\\) == (\\d+)`);
    return {
      field: name,
      type,
      offset: Number(assertion.exec(header)?.[1] ?? Number.NaN),
      size: sizeOf(type),
    };
  });
}

function assertedSizeOf(struct: string): number {
  return Number(new RegExp(`sizeof\\(struct ${struct}\\) == (\\d+)`).exec(header)?.[1] ?? Number.NaN);
}

const layoutOf = (rows: Row[]): Field[] =>
  rows.map((row) => ({
    field: field(row, "field"),
    type: field(row, "type"),
    offset: number(row, "offset"),
    size: number(row, "size"),
  }));

// ---- the layout ----------------------------------------------------------------------------------------------------

const oiebRows = tableUnder("### 1.3", "offset", "size", "type", "field", "initial value");

describe("the layout in docs/protocol.md", () => {
  test("has the fields of the OIEB at the offsets that the helper asserts", () => {
    const fields = fieldsOf("zb_oieb");
    expect(fields.length).toBeGreaterThan(10);
    expect(layoutOf(oiebRows)).toEqual(fields);
    expect(fields.reduce((sum, { size }) => sum + size, 0)).toBe(assertedSizeOf("zb_oieb"));
  });

  test("draws the OIEB in the order of its table", () => {
    const drawn = [...textUnder("### 1.3").matchAll(/^ +(\d+) +│(.*)│$/gm)];
    expect(drawn.map(([, offset]) => Number(offset))).toEqual([0, 32, 64, 96]);
    const names = drawn.flatMap(([, , cells = ""]) => cells.split("│").map((cell) => cell.trim()));
    const expected = oiebRows.flatMap((row) => {
      const { count, bits } = wordsOf(field(row, "type"));
      return Array(bits === 64 ? count : 1).fill(field(row, "field"));
    });
    expect(names).toEqual(expected);
  });

  test("has the fields of a frame's header, and its size", () => {
    const rows = tableUnder("### 1.5", "offset", "size", "type", "field");
    expect(layoutOf(rows)).toEqual(fieldsOf("zb_frame_header"));
    const sizes = [...textUnder("### 1.5").matchAll(/A header has (\d+) bytes/g)];
    expect(sizes.map(([, size]) => Number(size))).toEqual([assertedSizeOf("zb_frame_header")]);
  });

  test("has every flag with its value", () => {
    const flags = [...header.matchAll(/#define ZB_FLAG_(\w+) (\d+)u/g)];
    const rows = tableUnder("### 1.3", "bit", "value", "name");
    expect(rows.map((row) => [field(row, "name"), number(row, "value")])).toEqual(
      flags.map(([, name = "", value]) => [name, Number(value)]),
    );
    expect(rows.map((row) => 2 ** number(row, "bit"))).toEqual(rows.map((row) => number(row, "value")));
  });
});

// ---- a live buffer -------------------------------------------------------------------------------------------------

/** The value of a field as it stands in memory, as the page writes it: words and bytes one after another. */
function valueIn(memory: Buffer, row: Row): string {
  const { count, bits } = wordsOf(field(row, "type"));
  const width = bits / 8;
  return Array.from({ length: count }, (_, i) => {
    const at = number(row, "offset") + i * width;
    return `${width === 8 ? memory.readBigUInt64LE(at) : memory.readUIntLE(at, width)}`;
  }).join(" ");
}

const memoryOf = (name: string) => readFileSync(`/dev/shm/${name}`);
const tokensOf = (role: "w" | "r", name: string) =>
  readFileSync(`/dev/shm/sem.sem-${role}-${name}`).readUInt32LE();

/** What the page says a new buffer holds. */
function initialValues(values: Record<string, number>): string[] {
  return oiebRows.map((row) => {
    const initial = field(row, "initial value");
    const value = `${values[field(row, "field")] ?? values[initial] ?? initial}`;
    const { count } = wordsOf(field(row, "type"));
    return value.includes(" ") ? value : Array(count).fill(value).join(" ");
  });
}

describe("a live buffer and docs/protocol.md", () => {
  onLinux("agree on the files of a buffer, and on their sizes", () => {
    const name = uniqueName();
    const rows = tableUnder("### 1.1", "file", "size");
    const paths = rows.map((row) => field(row, "file").replace("NAME", name));
    expect(paths.some(existsSync)).toBe(false);
    using reader = new Reader(name, { metadataSize: 100, payloadSize: 1000 });
    const { metadataSize, payloadSize } = reader.config;
    expect(paths.map((path) => statSync(path).size)).toEqual(
      rows.map((row) =>
        field(row, "size") === "128 + M + P" ? 128 + metadataSize + payloadSize : number(row, "size"),
      ),
    );
  });

  onLinux("agree on what a new buffer holds", () => {
    const name = uniqueName();
    using reader = new Reader(name, { metadataSize: 100, payloadSize: 1000 });
    const { metadataSize, payloadSize } = reader.config;
    const memory = memoryOf(name);
    expect(oiebRows.map((row) => valueIn(memory, row))).toEqual(
      initialValues({ M: metadataSize, P: payloadSize, pid: process.pid }),
    );
  });

  onLinux("agree on what a buffer holds that its writer has created", () => {
    const name = uniqueName();
    using writer = new Writer(name, { create: { metadataSize: 64, payloadSize: 1024 } });
    const { metadataSize, payloadSize } = writer.config;
    const memory = memoryOf(name);
    expect(oiebRows.map((row) => valueIn(memory, row))).toEqual(
      initialValues({
        ...{ M: metadataSize, P: payloadSize, pid: 0 },
        ...{ writer_pid: process.pid, mark: process.pid, flags: 1 + 16 },
      }),
    );
  });

  onLinux("agree on the file of a semaphore", () => {
    const name = uniqueName();
    using _reader = new Reader(name, { payloadSize: 1024 });
    const rows = tableUnder("### 1.6", "offset", "size", "initial value");
    const file = readFileSync(`/dev/shm/sem.sem-w-${name}`);
    let end = 0;
    for (const row of rows) {
      expect(number(row, "offset")).toBe(end);
      end += number(row, "size");
      // The rest has no type: bytes that are all alike.
      const type = field(row, "type") || `${number(row, "size")} × u8`;
      expect(sizeOf(type)).toBe(number(row, "size"));
      expect(new Set(valueIn(file, { ...row, type }).split(" "))).toEqual(
        new Set([field(row, "initial value")]),
      );
    }
    expect(end).toBe(file.length);
  });

  onLinux("go through the worked example alike", () => {
    const name = uniqueName();
    const rows = tableUnder("### 3.6", "step", "free", "write_pos");
    using reader = new Reader(name, { metadataSize: 0, payloadSize: 256 });
    using writer = new Writer(name);
    const frames = new Map<number, Frame>();
    const perform = (action: string | undefined, operand: number) => {
      if (action === "write") writer.writeFrame(new Uint8Array(operand));
      else if (action === "release") frames.get(operand)?.release();
      else if (action === "read") {
        for (let i = 0; i < operand; i++) {
          const frame = reader.readFrame(1000);
          frames.set(frame.sequence, frame);
        }
      }
    };
    const columns = {
      free: "payload_free_bytes",
      write_pos: "payload_write_pos",
      read_pos: "payload_read_pos",
      written: "payload_written_count",
      read: "payload_read_count",
    };
    for (const row of rows) {
      const [action, operand] = field(row, "step").split(" ");
      perform(action, Number(operand));
      const memory = memoryOf(name);
      const seen = Object.entries(columns).map(([column, name]) => {
        const oiebRow = oiebRows.find((row) => field(row, "field") === name) as Row;
        return [column, valueIn(memory, oiebRow)];
      });
      expect({
        ...row,
        ...Object.fromEntries(seen),
        W: `${tokensOf("w", name)}`,
        R: `${tokensOf("r", name)}`,
      }).toEqual(row);
    }
    expect(rows.length).toBeGreaterThan(10);
  });

  test("agree on the longest names of buffers and channels", () => {
    const [, longest] = /name has 1 to (\d+) bytes of/.exec(textUnder("### 1.1")) ?? [];
    const name = uniqueName().padEnd(Number(longest), "x");
    using reader = new Reader(name, { metadataSize: 0, payloadSize: 64 });
    expect(reader.name).toHaveLength(Number(longest));
    expect(() => new Reader(`${name}x`)).toThrow(InvalidNameError);

    const factory = DuplexChannelFactory.getInstance();
    const [, longestChannel] = /channel's name has 1 to (\d+) bytes/.exec(textUnder("## 9.")) ?? [];
    factory.createImmutableServer("a".repeat(Number(longestChannel)))[Symbol.dispose]();
    expect(() => factory.createImmutableServer("a".repeat(Number(longestChannel) + 1))).toThrow(
      InvalidNameError,
    );
  });
});

// ---- citations -------------------------------------------------------------------------------------------

const numbersIn = (text: string) => [...text.matchAll(/\d+(?:\.\d+)?/g)].map(([number]) => number);

function filesBelow(...directories: string[]): string[] {
  return directories.flatMap((directory) =>
    [...new Bun.Glob(`${directory}/**/*.{ts,c,h,pml}`).scanSync(root)].filter(
      (path) => path !== relative(root, import.meta.path),
    ),
  );
}

/** Citations of the page in comments: the sections, and the steps of the last one. */
function citationsIn(path: string): { sections: string[]; steps: string[] }[] {
  const text = pageOf(path).replace(/\n\s*(?:\*|\/\/\/?)?\s*/g, " ");
  const list = "((?:\\d+(?:\\.\\d+)?(?:, | and | to )?)+)";
  const citations = text.matchAll(
    new RegExp(`protocol\\.md,? sections? ${list}(?:,? steps? ${list})?`, "gi"),
  );
  return [...citations].map(([, sections = "", steps = ""]) => ({
    sections: numbersIn(sections),
    steps: numbersIn(steps),
  }));
}

describe("docs/protocol.md", () => {
  test("has the ten sections that comments count on", () => {
    expect([...page.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading)).toEqual([
      "1. Objects and layout",
      "2. Writing",
      "3. Reading",
      "4. Waiting and liveness",
      "5. Creating and connecting",
      "6. Stale buffers",
      "7. Hostile peers",
      "8. Other implementations",
      "9. Duplex channels",
      "10. Shared payloads",
    ]);
  });

  test("has every section and step that a comment cites", () => {
    const cited = filesBelow("src", "tests", "scripts").flatMap((path) =>
      citationsIn(path).map((citation) => ({ path, ...citation })),
    );
    expect(cited.length).toBeGreaterThan(10);
    const missing = cited.filter(({ sections, steps }) => {
      const headings = sections.map((section) =>
        section.includes(".") ? `### ${section}` : `## ${section}.`,
      );
      if (headings.some((heading) => !page.includes(`\n${heading} `))) return true;
      const text = textUnder(headings.at(-1) as string);
      return steps.some((step) => !text.includes(`\n${step}. `));
    });
    expect(missing).toEqual([]);
  });

  test("names the section that each of its links leads to", () => {
    const anchors = anchorsOf(page);
    const links = [...page.matchAll(/\[(?:[Ss]ection )?(\d+(?:\.\d+)?)\]\(#([^)]*)\)/g)];
    expect(links.length).toBeGreaterThan(10);
    const wrong = links.filter(([, section, anchor = ""]) => {
      const heading = anchors.get(anchor) ?? "";
      return !heading.startsWith(`${section} `) && !heading.startsWith(`${section}. `);
    });
    expect(wrong.map(([link]) => link)).toEqual([]);
  });
});
