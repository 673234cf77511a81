// Requests that their client takes back, at each moment of their way, and the signals of their handlers.

import { describe, expect, test } from "bun:test";
import { statSync, truncateSync } from "node:fs";
import fc from "fast-check";
import {
  type DuplexResponse,
  type IDuplexClient,
  ProcessingMode,
  Reader,
  type RequestContext,
  type RequestHandler,
} from "../../../../src/core/index.ts";
import { bytesOf, eventually, setField, uniqueName, WAIT_LIMIT_MS } from "../../../support/buffers.ts";
import {
  answerTo,
  echo,
  factory,
  gate,
  received,
  receivedBytes,
  SMALL,
  serve,
  serveInPlace,
  TINY,
  TINY_FRAMES,
  turns,
} from "./served.ts";

const POOL = { mode: ProcessingMode.THREAD_POOL };
const WORDS = 1024;
const onLinux = process.platform === "linux";

/** A request that can be aborted; its outcome is the response, or the name of the error. */
function ask(client: IDuplexClient, data: Uint8Array) {
  const controller = new AbortController();
  const outcome = client.request(data, { signal: controller.signal, timeoutMs: WAIT_LIMIT_MS }).then(
    (response: DuplexResponse): Uint8Array | string => {
      using _ = response;
      return response.toArray();
    },
    (error: Error) => error.name,
  );
  return { outcome, abort: () => controller.abort() };
}

/** Ends with the signal, and not before. */
function untilAborted({ signal }: RequestContext): Promise<never> {
  return new Promise((_, reject) => {
    const end = () => reject(signal.reason);
    if (signal.aborted) end();
    else signal.addEventListener("abort", end);
  });
}

/** Handles the first request until the gate opens, and notes what it handles. */
function busyWithFirst(opened: Promise<void>) {
  const handled: number[] = [];
  const handler: RequestHandler = (request) => {
    handled.push(request.sequence);
    return request.sequence === 1 ? opened.then(() => request.data) : request.data;
  };
  return { handled, handler };
}

describe("a cancelled request", () => {
  test("that its server has not come to never reaches the handler", async () => {
    const { opened, open } = gate();
    const { handled, handler } = busyWithFirst(opened);
    using served = serve(handler);
    using client = served.connect();
    expect(client.honoursCancellation).toBe(true);
    const asked = [1, 2, 3, 4].map((i) => ask(client, bytesOf(i, 100)));
    await eventually(() => handled.length === 1);
    asked[1]?.abort();
    asked[3]?.abort();
    expect(await asked[1]?.outcome).toBe("AbortError");
    open();
    expect(await asked[0]?.outcome).toEqual(bytesOf(1, 100));
    expect(await asked[2]?.outcome).toEqual(bytesOf(3, 100));
    await eventually(() => served.cancelled.length === 2);
    expect([handled, served.cancelled, served.failed]).toEqual([[1, 3], [2, 4], []]);
    expect(served.server.statistics).toMatchObject({ requests: 2, responses: 2, cancelled: 2 });
  });

  test("that still waits for room is not sent, and uses no number", async () => {
    const { opened, open } = gate();
    const { handler } = busyWithFirst(opened);
    using served = serve(handler, { config: TINY });
    using client = served.connect();
    const sent = Array.from({ length: TINY_FRAMES }, (_, i) => ask(client, bytesOf(i, 100)));
    const waiting = [1, 2].map((i) => ask(client, bytesOf(90 + i, 100)));
    waiting[0]?.abort();
    expect(await waiting[0]?.outcome).toBe("AbortError");
    open();
    for (const [i, { outcome }] of sent.entries()) expect(await outcome).toEqual(bytesOf(i, 100));
    expect(await waiting[1]?.outcome).toEqual(bytesOf(92, 100));
    expect(client.sendRequest(bytesOf(3, 100))).toBe(TINY_FRAMES + 2);
    expect((await receivedBytes(client))[1]).toEqual(bytesOf(3, 100));
    expect(served.server.statistics.cancelled).toBe(0);
  });

  test("aborts the signal of its running handler, and of no other", async () => {
    const aborted: number[] = [];
    const handler: RequestHandler = async (request, context) => {
      context.signal.addEventListener("abort", () => aborted.push(request.sequence));
      await untilAborted(context);
      return request.data;
    };
    using served = serve(handler, POOL);
    using client = served.connect();
    const asked = [1, 2, 3].map((i) => ask(client, bytesOf(i, 100)));
    await eventually(() => served.server.statistics.requests === 3);
    asked[1]?.abort();
    // Long before the end of a slice: the cancellation wakes the server.
    await eventually(() => aborted.length === 1);
    expect(aborted).toEqual([2]);
    asked[0]?.abort();
    asked[2]?.abort();
    await eventually(() => served.cancelled.length === 3);
    expect([served.cancelled, served.failed]).toEqual([[2, 1, 3], []]);
  });

  test("whose handler takes no notice gets no response, and counts as one at work until the handler ends", async () => {
    const { opened, open } = gate();
    const { handled, handler } = busyWithFirst(opened);
    using served = serve(handler, { ...POOL, concurrency: 1 });
    using client = served.connect();
    const [first, second] = [1, 2].map((i) => ask(client, bytesOf(i, 100)));
    await eventually(() => handled.length === 1);
    first?.abort();
    await turns(20);
    expect(handled).toEqual([1]);
    open();
    expect(await second?.outcome).toEqual(bytesOf(2, 100));
    expect([handled, served.cancelled]).toEqual([[1, 2], [1]]);
    expect(served.server.statistics.responses).toBe(1);
  });

  test("whose response waits for room gets none, and lets the others go on", async () => {
    using served = serve(echo, POOL);
    using client = served.connect(TINY);
    for (let i = 1; i <= TINY_FRAMES + 2; i++) client.sendRequest(bytesOf(i, 100));
    // All are handled; two responses wait for room.
    await eventually(() => served.server.statistics.requests === TINY_FRAMES + 2);
    expect(served.server.statistics.responses).toBe(TINY_FRAMES);
    expect(client.cancelRequest(TINY_FRAMES + 1)).toBe(true);
    await eventually(() => served.cancelled.length === 1);
    const numbers: number[] = [];
    for (let i = 0; i <= TINY_FRAMES; i++) numbers.push((await receivedBytes(client))[0]);
    expect(numbers).toEqual([...Array(TINY_FRAMES).keys()].map((i) => i + 1).concat(TINY_FRAMES + 2));
  });

  test("that is answered already gives its response up, unread or set aside, and the server is not bothered", async () => {
    using served = serve(echo);
    using client = served.connect();
    for (let i = 1; i <= 3; i++) client.sendRequest(bytesOf(i, 100));
    await eventually(() => served.server.statistics.responses === 3);
    // In the ring: the client cannot know that.
    expect(client.cancelRequest(1)).toBe(true);
    // Taken out of the ring by a request, and set aside.
    expect(await answerTo(client, bytesOf(4, 100))).toEqual(bytesOf(4, 100));
    expect(client.cancelRequest(2)).toBe(false);
    expect(await receivedBytes(client)).toEqual([3, bytesOf(3, 100)]);
    // Received, unknown.
    for (const sequence of [3, 5, 0, -1, Number.NaN]) expect(client.cancelRequest(sequence)).toBe(false);
    expect(client.receiveResponse(0).isValid).toBe(false);
    expect(served.server.statistics.cancelled).toBe(0);
  });

  test("is one whose time is up", async () => {
    using served = serve((_, context) => untilAborted(context));
    using client = served.connect();
    expect(await answerTo(client, bytesOf(1, 100), 20)).toBeUndefined();
    await eventually(() => served.cancelled.length === 1);
    expect([served.cancelled, served.failed]).toEqual([[1], []]);
  });

  test("behind a full ring whose handler ends only by its signal lets everything go on", async () => {
    const handler: RequestHandler = (request, context) =>
      request.sequence === 1 ? untilAborted(context) : request.data;
    using served = serve(handler, { config: TINY });
    using client = served.connect();
    const first = ask(client, bytesOf(1, 100));
    await eventually(() => served.server.statistics.requests === 1);
    const others = Array.from({ length: 3 * TINY_FRAMES }, (_, i) => ask(client, bytesOf(2 + i, 100)));
    await turns(10);
    expect(served.server.statistics.requests).toBe(1);
    first.abort();
    for (const [i, { outcome }] of others.entries()) expect(await outcome).toEqual(bytesOf(2 + i, 100));
    expect([served.cancelled, served.failed]).toEqual([[1], []]);
  });

  test("is as good as answered for a service that ends after some requests", async () => {
    const { opened, open } = gate();
    const { handled, handler } = busyWithFirst(opened);
    using served = serve(handler, { limit: 2 });
    using client = served.connect();
    const asked = [1, 2, 3].map((i) => ask(client, bytesOf(i, 100)));
    await eventually(() => handled.length === 1);
    asked[1]?.abort();
    open();
    expect(await asked[2]?.outcome).toEqual(bytesOf(3, 100));
    await eventually(() => served.stops === 1);
    expect(handled).toEqual([1, 3]);
  });

  test("is changed by nobody in place", async () => {
    const { opened, open } = gate();
    const handled: number[] = [];
    using served = serveInPlace(async (request) => {
      handled.push(request.sequence);
      if (request.sequence === 1) await opened;
      request.getMutableSpan().reverse();
    });
    using client = served.connect();
    const asked = [1, 2, 3].map((i) => ask(client, bytesOf(i, 100)));
    await eventually(() => handled.length === 1);
    asked[1]?.abort();
    open();
    expect(await asked[0]?.outcome).toEqual(bytesOf(1, 100).reverse());
    expect(await asked[2]?.outcome).toEqual(bytesOf(3, 100).reverse());
    expect([handled, served.cancelled]).toEqual([[1, 3], [2]]);
  });

  test("that overwrites the word of another one leaves that one to be handled as usual", async () => {
    const { opened, open } = gate();
    const { handled, handler } = busyWithFirst(opened);
    using served = serve(handler);
    using client = served.connect();
    const count = WORDS + 10;
    const asked = Array.from({ length: count }, (_, i) => ask(client, bytesOf(i + 1, 8)));
    await eventually(() => handled.length === 1);
    for (const { abort } of asked.slice(1)) abort();
    open();
    expect(await asked[0]?.outcome).toEqual(bytesOf(1, 8));
    expect(await answerTo(client, bytesOf(9, 8))).toEqual(bytesOf(9, 8));
    // Words 2 to 10 have the numbers of the last ones.
    const lost = [...Array(9).keys()].map((i) => i + 2);
    expect(handled).toEqual([1, ...lost, count + 1]);
    expect(served.cancelled).toHaveLength(count - 1 - lost.length);
  });

  test("may be one of ten thousand in flight", async () => {
    const { opened, open } = gate();
    const { handled, handler } = busyWithFirst(opened);
    using served = serve(handler, { config: { metadataSize: 0, payloadSize: 2 ** 20 } });
    using client = served.connect();
    const asked = Array.from({ length: 10_000 }, (_, i) => ask(client, bytesOf(i + 1, 8)));
    await eventually(() => handled.length === 1);
    // In different words.
    const taken = new Set(Array.from({ length: 500 }, (_, i) => 19 * i + 5));
    for (const i of taken) asked[i]?.abort();
    open();
    for (const [i, { outcome }] of asked.entries()) {
      const answer = await outcome;
      if (taken.has(i)) expect(answer).toBe("AbortError");
      else expect(answer).toEqual(bytesOf(i + 1, 8));
    }
    expect(served.server.statistics).toMatchObject({
      requests: 10_000 - taken.size,
      responses: 10_000 - taken.size,
    });
  });
});

describe("the signal of a handler", () => {
  test("is aborted when the client leaves, and what the handler throws then is no error", async () => {
    using served = serve((_, context) => untilAborted(context));
    const client = served.connect();
    const asked = ask(client, bytesOf(1, 100));
    await eventually(() => served.server.statistics.requests === 1);
    client.close();
    expect(await asked.outcome).toBe("ClosedError");
    using next = await factory.connectClient(served.channel, {
      config: SMALL,
      connectTimeoutMs: WAIT_LIMIT_MS,
    });
    const again = ask(next, bytesOf(2, 100));
    await eventually(() => served.server.statistics.requests === 2);
    again.abort();
    await eventually(() => served.cancelled.length === 1);
    expect(served.errors).toEqual([]);
  });

  test("is aborted when the server stops", async () => {
    let reason: Error | undefined;
    using served = serve((_, context) =>
      untilAborted(context).catch((error) => {
        reason = error;
        throw error;
      }),
    );
    using client = served.connect();
    const asked = ask(client, bytesOf(1, 100));
    await eventually(() => served.server.statistics.requests === 1);
    served.server.stop();
    await eventually(() => reason !== undefined);
    expect(reason?.message).toBe("Request 1 is not to be answered: the server was stopped.");
    asked.abort();
    await asked.outcome;
  });

  test("is aborted from the start if it is read too late, and stays as it is once the request is answered", async () => {
    const { opened, open } = gate();
    const contexts: RequestContext[] = [];
    using served = serve(async (request, context) => {
      contexts.push(context);
      if (request.sequence === 2) await opened;
      return request.data;
    });
    const client = served.connect();
    expect(await answerTo(client, bytesOf(1, 100))).toEqual(bytesOf(1, 100));
    const asked = ask(client, bytesOf(2, 100));
    await eventually(() => contexts.length === 2);
    asked.abort();
    expect(contexts[1]?.signal.aborted).toBe(true);
    expect(contexts[1]?.signal).toBe(contexts[1]?.signal as AbortSignal);
    open();
    client.close();
    await eventually(() => served.cancelled.length === 1);
    expect(contexts[0]?.signal.aborted).toBe(false);
  });
});

describe("a server or a client without cancellation", () => {
  test("a client of one that does not heed it makes an ordinary buffer, and gives requests up by itself", async () => {
    const channel = uniqueName();
    using requests = new Reader(`${channel}_request`, SMALL);
    using client = factory.createClient(channel, { config: SMALL });
    expect(client.honoursCancellation).toBe(false);
    if (onLinux) expect(sizeOf(`${channel}_response`)).toBe(128 + SMALL.metadataSize + SMALL.payloadSize);
    const asked = ask(client, bytesOf(1, 100));
    asked.abort();
    expect(await asked.outcome).toBe("AbortError");
    expect(client.sendRequest(bytesOf(2, 100))).toBe(2);
    expect(client.cancelRequest(2)).toBe(false);
    expect(requests.readFrames().length).toBe(2);
  });

  test.skipIf(!onLinux)(
    "the table lies behind the ring of responses, and belongs to one client",
    async () => {
      using served = serve(echo);
      for (let round = 0; round < 2; round++) {
        using client = served.connect();
        const name = `${served.channel}_response`;
        const table = 128 + SMALL.metadataSize + SMALL.payloadSize;
        expect(sizeOf(name)).toBe(table + 8 * WORDS);
        client.sendRequest(bytesOf(1, 100));
        await received(client).then((response) => response.release());
        client.sendRequest(bytesOf(2, 100));
        expect(client.cancelRequest(2)).toBe(true);
        expect(await answerTo(client, bytesOf(3, 100))).toEqual(bytesOf(3, 100));
      }
    },
  );

  test.skipIf(!onLinux)("a hostile table cancels what it names and harms nothing else", async () => {
    using served = serve(async (request, { signal }) => {
      await turns(1);
      signal.throwIfAborted();
      return request.data;
    });
    using client = served.connect();
    const name = `${served.channel}_response`;
    const table = 128 + SMALL.metadataSize + SMALL.payloadSize;
    for (let i = 0; i < WORDS; i++) setField(name, table + 8 * i, BigInt(i * 7919 + 1) << 40n);
    for (let i = 1; i <= 20; i++) expect(await answerTo(client, bytesOf(i, 100))).toEqual(bytesOf(i, 100));
    setField(name, table + 8 * 21, 21n);
    expect(await answerTo(client, bytesOf(21, 100), 50)).toBeUndefined();
    expect(served.cancelled).toEqual([21]);
  });

  test.skipIf(!onLinux)(
    "memory without room for a table has none, and if it loses it the next client is served",
    async () => {
      // The table begins with a page.
      const config = { metadataSize: 4096 - 128, payloadSize: 256 * 1024 };
      using served = serve(echo);
      for (const isAttached of [false, true]) {
        using client = await factory.connectClient(served.channel, {
          config,
          connectTimeoutMs: WAIT_LIMIT_MS,
        });
        if (isAttached) expect(await answerTo(client, bytesOf(1, 100))).toEqual(bytesOf(1, 100));
        const table = 4096 + config.payloadSize;
        truncateSync(`/dev/shm/${served.channel}_response`, isAttached ? 4096 : table);
        if (isAttached) expect(await answerTo(client, bytesOf(2, 100), 50)).toBeUndefined();
        else expect(await answerTo(client, bytesOf(2, 100))).toEqual(bytesOf(2, 100));
      }
      using next = await factory.connectClient(served.channel, {
        config,
        connectTimeoutMs: WAIT_LIMIT_MS,
      });
      expect(await answerTo(next, bytesOf(3, 100))).toEqual(bytesOf(3, 100));
      expect(served.server.statistics.cancelled).toBe(0);
    },
  );
});

test(
  "whatever is cancelled whenever, each other request gets its own answer",
  async () => {
    const operations = fc.array(
      fc.record({
        /** How long the handler takes, in turns of the event loop. */
        takes: fc.integer({ min: 0, max: 3 }),
        /** After how many turns it is cancelled, if it is. */
        cancelledAfter: fc.option(fc.integer({ min: 0, max: 6 }), { nil: undefined }),
        /** Turns until the next request. */
        pause: fc.integer({ min: 0, max: 2 }),
        heeds: fc.boolean(),
      }),
      { minLength: 1, maxLength: 30 },
    );
    const modes = fc.constantFrom(ProcessingMode.SINGLE_THREAD, ProcessingMode.THREAD_POOL);
    await fc.assert(
      fc.asyncProperty(operations, modes, async (requests, mode) => {
        const handled: number[] = [];
        using served = serve(
          async (request, { signal }) => {
            const number = new DataView(request.toArray().buffer).getUint32(0);
            handled.push(number);
            const { takes = 0, heeds } = requests[number] ?? {};
            await turns(takes);
            if (heeds) signal.throwIfAborted();
            return request.data;
          },
          { config: TINY, mode, concurrency: 3 },
        );
        using client = served.connect(TINY);
        const outcomes: Promise<void>[] = [];
        let cancelled = 0;
        for (const [number, { cancelledAfter, pause }] of requests.entries()) {
          const data = new Uint8Array(100).fill(number);
          new DataView(data.buffer).setUint32(0, number);
          const { outcome, abort } = ask(client, data);
          if (cancelledAfter !== undefined) void turns(cancelledAfter).then(abort);
          const check = async () => {
            const answer = await outcome;
            if (answer === "AbortError") cancelled++;
            else expect(answer).toEqual(data);
            if (cancelledAfter === undefined) expect(answer).toEqual(data);
          };
          outcomes.push(check());
          await turns(pause);
        }
        await Promise.all(outcomes);
        // The last one has been dealt with when this is answered.
        await answerTo(client, new Uint8Array(100));
        const { requests: begun, responses, cancelled: counted } = served.server.statistics;
        expect(served.errors).toEqual([]);
        expect(new Set(handled).size).toBeLessThanOrEqual(requests.length);
        expect(counted).toBeLessThanOrEqual(cancelled);
        expect(responses).toBeGreaterThanOrEqual(requests.length - cancelled + 1);
        expect(begun - responses).toBeLessThanOrEqual(counted);
      }),
      { numRuns: 40 },
    );
  },
  WAIT_LIMIT_MS,
);

function sizeOf(name: string): number {
  return statSync(`/dev/shm/${name}`).size;
}
