// When a wait for frames blocks, without a ring: tokens and the writer are as the test says.

import { expect, test } from "bun:test";
import type { SharedBuffer } from "../../../src/core/buffer/shared-buffer.ts";
import type { Lender } from "../../../src/core/frame.ts";
import { Lookahead } from "../../../src/core/lookahead.ts";
import type { ReadQueue } from "../../../src/core/read-queue.ts";
import type { WriterWatch } from "../../../src/core/writer-watch.ts";
import { Code } from "../../../src/native/codes.ts";

test("a departure whose token came together with that of the last frame is noticed without a wait", () => {
  const waits: number[] = [];
  const ring = {
    next: (waitUs: number) => {
      waits.push(waitUs);
      return Code.AGAIN;
    },
  };
  const watch = { hasNewSurplus: true, acceptNextWriter() {}, look() {}, reportDeparture: () => "left" };
  const frames = new Lookahead(
    {} as SharedBuffer,
    { ring, name: "cam", isClosed: false } as unknown as Lender,
    watch as unknown as WriterWatch,
    { isEmpty: true } as ReadQueue,
  );
  expect(() => frames.waitForFrames(1000)).toThrow(
    expect.objectContaining({ code: "WRITER_DEAD", reason: "left" }),
  );
  expect(waits).toEqual([0, 0]);
});
