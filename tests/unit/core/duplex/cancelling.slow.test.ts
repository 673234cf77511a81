// A million requests, a tenth of them cancelled at random moments: nothing of them stays.

import { heapStats } from "bun:jsc";
import { expect, test } from "bun:test";
import { ProcessingMode } from "../../../../src/core/index.ts";
import { option, Random } from "../../../support/slow-options.ts";
import { SMALL, serve, wordOf } from "./served.ts";

const requests = option("REQUESTS", 1_000_000);
const seed = option("SEED", Date.now() % 2 ** 31);
const IN_FLIGHT = 64;

function countsOf(types: readonly string[]): number[] {
  Bun.gc(true);
  const { objectTypeCounts } = heapStats();
  return types.map((type) => objectTypeCounts[type] ?? 0);
}

test(`of ${requests} requests (seed ${seed}) a tenth is cancelled, and nothing of them stays`, async () => {
  const random = new Random(seed);
  const types = ["Promise", "AbortSignal", "AbortController", "Frame", "Pending", "RequestInHand"];
  using served = serve(
    async (request, { signal }) => {
      // Some take a turn, some heed their signals, some answer at once.
      const kind = request.data[4] as number;
      if (kind % 8 === 0) await Bun.sleep(0);
      if (kind % 3 === 0) signal.throwIfAborted();
      return request.data;
    },
    { mode: ProcessingMode.THREAD_POOL },
  );
  using client = served.connect();
  const before = countsOf(types);
  let asked = 0;
  let answered = 0;
  let cancelled = 0;
  const data = new Uint8Array(16);
  const view = new DataView(data.buffer);
  const ask = async () => {
    while (asked < requests) {
      const number = asked++;
      view.setUint32(0, number);
      data[4] = random.below(256);
      if (random.below(10) >= 1) {
        using response = await client.request(data);
        expect(new DataView(response.toArray().buffer).getUint32(0)).toBe(number);
        answered++;
        continue;
      }
      const cancellation = new AbortController();
      const response = client.request(data, { signal: cancellation.signal });
      const moment = random.below(4);
      if (moment < 1) cancellation.abort();
      else if (moment < 2) queueMicrotask(() => cancellation.abort());
      else if (moment < 3) setImmediate(() => cancellation.abort());
      else setTimeout(() => cancellation.abort(), 1);
      try {
        using late = await response;
        expect(new DataView(late.toArray().buffer).getUint32(0)).toBe(number);
        answered++;
      } catch (error) {
        expect(error).toBe(cancellation.signal.reason);
        cancelled++;
      }
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, ask));
  expect(answered + cancelled).toBe(requests);
  expect(cancelled).toBeGreaterThan(requests / 50);
  expect(served.errors).toEqual([]);
  // The last responses that nobody waited for are taken with this one.
  using last = await client.request(data);
  last.release();
  const free = () =>
    (["request", "response"] as const).map((side) => wordOf(served.channel, side, "payloadFreeBytes"));
  expect(free()).toEqual([BigInt(SMALL.payloadSize), BigInt(SMALL.payloadSize)]);
  served.cancelled.length = 0;
  const after = countsOf(types);
  for (const [i, type] of types.entries()) {
    expect({ type, grown: (after[i] as number) - (before[i] as number) < 300 }).toEqual({
      type,
      grown: true,
    });
  }
  console.log(
    `${requests} requests, ${cancelled} given up, ${served.server.statistics.cancelled} cancelled in time`,
  );
}, 900_000);
