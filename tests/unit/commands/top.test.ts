// The screen of top without a terminal: what the keys do, what is drawn, and how it fits.

import { describe, expect, test } from "bun:test";
import type { Sample } from "../../../src/cli/sampling.ts";
import { plain } from "../../../src/cli/terminal.ts";
import { type Size, screenOf } from "../../../src/commands/top/drawing.ts";
import { History } from "../../../src/commands/top/history.ts";
import { rateText, secondsText, shortBytes } from "../../../src/commands/top/layout.ts";
import { Model, SORTS } from "../../../src/commands/top/model.ts";

/** What a look at a buffer of 1000 bytes finds. */
function sampleOf(name: string, changes: Partial<Sample> & { used?: number; command?: string } = {}): Sample {
  const { used = 0, command = "/usr/bin/ffmpeg -i x", ...rest } = changes;
  const oieb = {
    oiebSize: 128,
    payloadSize: 1000,
    payloadFreeBytes: 1000 - used,
    payloadWrittenCount: 7,
    payloadReadCount: 6,
  };
  return {
    snapshot: {
      name,
      state: "live",
      fault: null,
      size: 1128,
      oieb: oieb as never,
      sharing: null,
      writer: { pid: 4711, localPid: 4711, command, alive: true },
      reader: { pid: 7, localPid: null, command: null, alive: true },
    },
    createdMs: 1,
    waits: { writer: false, reader: true },
    frameSize: 100,
    framesPerSecond: 30,
    bytesPerSecond: 3000,
    bytesSeen: 0,
    firstSeenMs: 1,
    quietSeconds: 0,
    hasMoved: true,
    ...rest,
  };
}

function modelOf(samples: readonly Sample[]): Model {
  const model = new Model();
  model.update(samples, 0);
  return model;
}

const press = (model: Model, ...keys: string[]) =>
  keys.map((key) => model.press({ name: key.toLowerCase(), text: key.length === 1 ? key : "" }, 10));

const namesOf = (model: Model) => model.shown.map(({ buffer_name }) => buffer_name);

const draw = (model: Model, size: Size = { rows: 24, columns: 80 }) => screenOf(model, size, plain, true);

describe("the keys", () => {
  test("select, and the selection stays with its buffer", () => {
    const model = modelOf(["a", "c", "d"].map((name) => sampleOf(name)));
    press(model, "down");
    expect(model.selected?.buffer_name).toBe("c");
    model.update(
      ["a", "b", "c", "d"].map((name) => sampleOf(name)),
      1,
    );
    expect([model.selected?.buffer_name, model.index]).toEqual(["c", 2]);
    press(model, "end", "down");
    expect(model.selected?.buffer_name).toBe("d");
    press(model, "home", "up");
    expect(model.selected?.buffer_name).toBe("a");
    press(model, "j", "j", "k", "pagedown", "pageup");
    expect(model.selected?.buffer_name).toBe("a");
  });

  test("select the next buffer once the selected one is gone", () => {
    const model = modelOf(["a", "b", "c"].map((name) => sampleOf(name)));
    press(model, "down");
    model.update([sampleOf("a"), sampleOf("c")], 1);
    expect(model.selected?.buffer_name).toBe("c");
    model.update([sampleOf("a")], 2);
    expect(model.selected?.buffer_name).toBe("a");
    model.update([], 3);
    expect(model.selected).toBeUndefined();
    expect(press(model, "down", "return", "s", "end")).toEqual([false, false, false, false]);
    expect(model.view).toBe("list");
  });

  test("sort by each column, in both directions", () => {
    const model = modelOf([
      sampleOf("a", { used: 100, framesPerSecond: 5, bytesPerSecond: 900, quietSeconds: 3 }),
      sampleOf("b", { used: 900, framesPerSecond: 50, bytesPerSecond: 100, quietSeconds: 1 }),
      sampleOf("c", { used: 500, framesPerSecond: null, bytesPerSecond: null, hasMoved: false }),
    ]);
    const orders = SORTS.map((sort) => {
      expect(model.sort).toBe(sort);
      const order = namesOf(model).join("");
      press(model, "s");
      return order;
    });
    expect(orders).toEqual(["abc", "abc", "bca", "bac", "abc", "bac"]);
    expect(model.sort).toBe("name");
    press(model, "r");
    expect(namesOf(model).join("")).toBe("cba");
    press(model, "S");
    expect(model.sort).toBe("age");
  });

  test("filter by name, state and process, while the text is typed", () => {
    const model = modelOf([sampleOf("cam-q"), sampleOf("log", { command: "tail -f cam" }), sampleOf("old")]);
    press(model, "/", "C", "a", "m");
    expect(namesOf(model)).toEqual(["cam-q", "log"]);
    // What is typed is no command.
    press(model, "-", "q");
    expect([namesOf(model), model.filter]).toEqual([["cam-q"], "Cam-q"]);
    press(model, "backspace", "backspace", "return", "down");
    expect(model.selected?.buffer_name).toBe("log");
    press(model, "escape");
    expect([namesOf(model).length, model.filter]).toEqual([3, ""]);
    press(model, "/", "n", "o", "p", "e");
    expect(draw(model)).toContain("No buffer matches the filter.");
  });

  test("leave: q, and only q", () => {
    const model = modelOf([sampleOf("a")]);
    expect(press(model, "x", "escape", "?", "escape", "q")).toEqual([false, false, false, false, true]);
  });

  test("show the help, and any key leaves it", () => {
    const model = modelOf([sampleOf("a")]);
    press(model, "?");
    expect(draw(model).join("\n")).toContain("sort by the next or the previous column");
    press(model, "x");
    expect(model.view).toBe("list");
  });
});

describe("the screen", () => {
  const sizes = [
    { rows: 24, columns: 80 },
    { rows: 50, columns: 200 },
    { rows: 8, columns: 40 },
    { rows: 2, columns: 10 },
    { rows: 30, columns: 110 },
  ];
  const long = sampleOf("a-name-that-is-longer-than-any-column-of-a-terminal-0123456789");

  test.each(sizes)("fits %p with 0, 3 and 300 buffers, in every view", (size) => {
    for (const count of [0, 3, 300]) {
      const model = modelOf(
        [long, ...Array.from({ length: count }, (_, at) => sampleOf(`b${at}`))].slice(
          -count || 1,
          count === 0 ? 0 : undefined,
        ),
      );
      for (const view of ["list", "help", "inspect"] as const) {
        model.view = view;
        const lines = draw(model, size);
        expect(lines.length).toBeLessThanOrEqual(Math.max(2, size.rows));
        for (const line of lines) expect(Bun.stringWidth(line)).toBeLessThanOrEqual(size.columns);
      }
    }
  });

  test("has every column at 80, the keys in its last row, and the selected buffer below", () => {
    const samples = [sampleOf("cam", { used: 640 }), sampleOf("log", { bytesPerSecond: null })];
    const model = modelOf(samples);
    model.update(samples, 1000);
    const lines = draw(model);
    expect(lines[0]).toBe("zerobuffer top  2 buffers: 2 live  60 frames/s  2.9 KiB/s");
    expect(lines[1]?.split(/ +/)).toEqual([
      "",
      "NAME▼",
      "STATE",
      "FILL",
      "FRAMES/S",
      "BYTES/S",
      "AGE",
      "WAITS",
      "WRITER",
      "READER",
      "",
    ]);
    expect(lines[2]).toStartWith("> cam ");
    expect(lines[2]).toMatch(/ live +███░ +64% +30 +2\.9 KiB +<1s reader 4711 ffmp… 7 \? +$/);
    expect(lines[3]).toMatch(/^ {2}log .* 30 +- +<1s /);
    expect(lines[19]).toBe("cam  ring of 1,000 bytes: 7 written, 6 read, 100 bytes a frame");
    expect(lines[20]).toBe("writer       4711 /usr/bin/ffmpeg -i x");
    expect(lines[21]).toBe("reader       7, not visible from here");
    expect(lines[22]).toMatch(/^last minute +█ {2}30 frames\/s at most$/);
    expect(lines[23]).toStartWith("q quit");
  });

  test("scrolls so that the selected row is seen, and no further", () => {
    const model = modelOf(
      Array.from({ length: 300 }, (_, at) => sampleOf(`b${String(at).padStart(3, "0")}`)),
    );
    const selectedRow = () => draw(model).findIndex((line) => line.startsWith("> "));
    expect(selectedRow()).toBe(2);
    press(model, "end");
    expect(draw(model)[selectedRow()]).toStartWith("> b299");
    press(model, "up");
    expect(draw(model)[selectedRow()]).toStartWith("> b298");
    expect(draw(model).some((line) => line.startsWith("  b299"))).toBe(true);
    press(model, "home");
    expect(draw(model)[2]).toStartWith("> b000");
  });

  test("tells how long nothing came at least", () => {
    const quiet = { hasMoved: false, quietSeconds: 125, framesPerSecond: 0 };
    expect(draw(modelOf([sampleOf("a", quiet)]))[2]).toContain(" >2m ");
  });

  test("tells that an inspected buffer is gone", () => {
    const model = modelOf([sampleOf("no-such-buffer")]);
    press(model, "return");
    model.update([], 1);
    expect(draw(model)).toContain('Buffer "no-such-buffer" is gone.');
    press(model, "escape");
    expect(draw(model)).toContain("No buffers.");
  });
});

describe("the last minute", () => {
  test("is a line of bars, the newest on the right", () => {
    const history = new History();
    for (let second = 0; second <= 60; second++) history.note(second < 30 ? 0 : second - 30, second * 1000);
    expect([history.highest, history.spark(6)]).toEqual([30, "▁▁▁▄▆█"]);
  });

  test("is blank before the first rate, and where none was measured", () => {
    const history = new History();
    expect(history.spark(3)).toBe("   ");
    history.note(null, 0);
    history.note(10, 10_000);
    history.note(null, 20_000);
    history.note(5, 30_000);
    expect(history.spark(6)).toBe("   █ ▅");
  });

  test("forgets what is older, whatever the interval", () => {
    const history = new History();
    history.note(1000, 0);
    for (let at = 100; at <= 70_000; at += 100) history.note(1, at);
    expect([history.highest, history.spark(4)]).toEqual([1, "████"]);
  });
});

test.each([
  [0, "0"],
  [0.25, "0.3"],
  [29.97, "30"],
  [999_999, "999,999"],
  [1_234_567, "1.23 M"],
  [null, "-"],
])("%p frames per second are %p", (rate, text) => {
  expect(rateText(rate)).toBe(text);
});

test.each([
  [0, "0 B"],
  [999, "999 B"],
  [1000, "1.0 KiB"],
  [65_536, "64 KiB"],
  [1024 ** 2 - 1, "1.0 MiB"],
  [5 * 1024 ** 3, "5.0 GiB"],
])("%p bytes are %p", (bytes, text) => {
  expect(shortBytes(bytes)).toBe(text);
});

test.each([
  [0.9, "<1s"],
  [59, "59s"],
  [60, "1m"],
  [3599, "59m"],
  [3600, "1h"],
  [86_400, "1d"],
  [1e9, "99d"],
])("%p seconds are %p", (seconds, text) => {
  expect(secondsText(seconds)).toBe(text);
});
