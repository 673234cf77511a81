import { expect, test } from "bun:test";
import { Histories, KEPT_LOOKS } from "../../../src/commands/view/histories.ts";
import type { TopEntry } from "../../../src/schemas/top.ts";

function entry(name: string, rate: number | null): TopEntry {
  return {
    ...{ buffer_name: name, frames_per_second: rate, bytes_per_second: rate && rate * 10 },
    ...{ used_percent: 50, frame_size: 10 },
  } as TopEntry;
}

test("each buffer has a number for each look, also for those before it was there", () => {
  const histories = new Histories();
  histories.note(1000, [entry("a", null)]);
  histories.note(2000, [entry("a", 5), entry("b", 7)]);
  expect(histories.times).toEqual([1000, 2000]);
  expect(histories.all.get("a")).toEqual({
    frames: [null, 5],
    bytes: [null, 50],
    fill: [50, 50],
    size: [10, 10],
  });
  expect(histories.all.get("b")?.frames).toEqual([null, 7]);
  histories.note(3000, [entry("b", 8)]);
  expect([...histories.all.keys()]).toEqual(["b"]);
});

test("a page goes on with what the server has kept, and both forget what is older than five minutes", () => {
  const server = new Histories();
  for (let look = 0; look < KEPT_LOOKS + 20; look++) server.note(look, [entry("a", look)]);
  expect([server.times.length, server.times[0]]).toEqual([KEPT_LOOKS, 20]);
  const page = new Histories(server.times, JSON.parse(JSON.stringify(Object.fromEntries(server.all))));
  page.note(1000, [entry("a", 1000), entry("__proto__", 1)]);
  expect([page.times.length, page.times[0], page.times.at(-1)]).toEqual([KEPT_LOOKS, 21, 1000]);
  for (const history of page.all.values()) {
    for (const values of Object.values(history)) expect(values).toHaveLength(KEPT_LOOKS);
  }
  expect(page.all.get("a")?.frames.slice(-2)).toEqual([KEPT_LOOKS + 19, 1000]);
});
