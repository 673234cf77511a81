// When a wait for frames blocks, without a ring: tokens and the writer are as the test says.

import { expect, test } from "bun:test";
import type { SharedBuffer } from "../../../src/core/buffer/shared-buffer.ts";
import type { Lender } from "../../../src/core/frame.ts";
import { Lookahead } from "../../../src/core/lookahead.ts";
import type { ReadQueue } from "../../../src/core/read-queue.ts";
import type { WriterWatch } from "../../../src/core/writer-watch.ts";
import { Code } from "../../../src/native/codes.ts";
import { Look, type RingReader } from "../../../src/native/ring.ts";

test("a departure whose token came together with that of the last frame is noticed without a wait", () => {
  const looks: [waitUs: number, flags: number][] = [];
  const ring = {
    next: (waitUs: number, flags: number) => {
      looks.push([waitUs, flags]);
      return Code.AGAIN;
    },
  };
  const watch = { hasNewSurplus: true, acceptNextWriter() {}, look() {}, reportDeparture: () => "left" };
  const frames = new Lookahead(
    {} as SharedBuffer,
    ring as unknown as RingReader,
    { name: "cam", isClosed: false } as unknown as Lender,
    watch as unknown as WriterWatch,
    { isEmpty: true } as ReadQueue,
  );
  expect(() => frames.waitForFrames(1000)).toThrow(
    expect.objectContaining({ code: "WRITER_DEAD", reason: "left" }),
  );
  expect(looks).toEqual([
    // The ring does not wait: it has a token without a frame.
    [100_000, Look.UNLESS_SURPLUS],
    [0, Look.WITHOUT_TOKEN],
  ]);
});
