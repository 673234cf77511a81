// Requests of a client, from being sent to being answered, given up or aborted.

import { describe, expect, test } from "bun:test";
import {
  BufferFullError,
  ClosedError,
  type Frame,
  FrameTooLargeError,
  InvalidFrameSizeError,
  ProcessingMode,
} from "../../../../src/core/index.ts";
import { bytesOf, eventually, rejectionOf, thrownBy, WAIT_LIMIT_MS } from "../../../support/buffers.ts";
import { answerTo, echo, gate, receivedBytes, serve, TINY, TINY_FRAMES, turns } from "./served.ts";

describe("a request", () => {
  test.each([1, 1024, 100 * 1024])("of %i bytes comes back whole, however it is sent", async (size) => {
    using served = serve(echo);
    using client = served.connect();
    const data = bytesOf(7, size);
    expect(await answerTo(client, data)).toEqual(data);

    expect(client.sendRequest(data)).toBe(2);
    expect(await receivedBytes(client)).toEqual([2, data]);

    const { sequence, buffer } = client.acquireRequestBuffer(size);
    expect([sequence, buffer.length]).toEqual([3, size]);
    buffer.set(data);
    client.commitRequest();
    expect(await receivedBytes(client)).toEqual([3, data]);
    expect(served.server.statistics).toMatchObject({
      clients: 1,
      requests: 3,
      responses: 3,
      bytesIn: 3 * size,
    });
  });

  test("may follow nine others before any response is read", async () => {
    using served = serve(echo);
    using client = served.connect();
    for (let i = 1; i <= 10; i++) expect(client.sendRequest(bytesOf(i, i))).toBe(i);
    await eventually(() => served.server.statistics.responses === 10);
    for (let i = 1; i <= 10; i++) expect(await receivedBytes(client)).toEqual([i, bytesOf(i, i)]);
    expect(client.receiveResponse(0).isValid).toBe(false);
  });

  test("of one of five users of a client gets its own response, twenty times each", async () => {
    using served = serve(
      async (request) => {
        await turns(request.sequence % 3);
        return request.data;
      },
      { mode: ProcessingMode.THREAD_POOL },
    );
    using client = served.connect();
    const use = async (user: number) => {
      for (let i = 0; i < 20; i++) {
        const data = bytesOf(user * 20 + i, 50 + user);
        expect(await answerTo(client, data)).toEqual(data);
      }
    };
    await Promise.all([1, 2, 3, 4, 5].map(use));
    expect(served.server.statistics.responses).toBe(100);
  });

  test("that finds no room waits, and all are answered, many more than fit into either ring", async () => {
    using served = serve(echo, { config: TINY });
    using client = served.connect(TINY);
    const answers = Array.from({ length: 200 }, (_, i) => answerTo(client, bytesOf(i, 100)));
    for (const [i, answer] of (await Promise.all(answers)).entries()) expect(answer).toEqual(bytesOf(i, 100));
  });

  test("that can never be sent is refused, and the others go on", async () => {
    using served = serve(echo, { config: TINY });
    using client = served.connect(TINY);
    const answers = Array.from({ length: 20 }, (_, i) => answerTo(client, bytesOf(i, 100)));
    const tooLarge = rejectionOf(client.request(new Uint8Array(1009)));
    const empty = rejectionOf(client.request(new Uint8Array(0)));
    const later = answerTo(client, bytesOf(99, 100));
    expect(await tooLarge).toBeInstanceOf(FrameTooLargeError);
    expect(await empty).toBeInstanceOf(InvalidFrameSizeError);
    expect(await later).toEqual(bytesOf(99, 100));
    expect((await Promise.all(answers)).length).toBe(20);
    expect(await rejectionOf(client.request(bytesOf(1, 1), { timeoutMs: -1 }))).toBeInstanceOf(RangeError);
  });

  test("that waits for room ends when its own time is up, whatever the time of those before it", async () => {
    using served = serve(() => new Promise(() => {}), { config: TINY });
    using client = served.connect(TINY);
    for (let i = 0; i < TINY_FRAMES; i++) client.sendRequest(bytesOf(i, 100));
    const before = rejectionOf(client.request(bytesOf(1, 100), { timeoutMs: WAIT_LIMIT_MS }));
    const error = (await rejectionOf(client.request(bytesOf(2, 100), { timeoutMs: 20 }))) as BufferFullError;
    expect(error).toBeInstanceOf(BufferFullError);
    expect(error.message).toContain("within 20 ms");
    client.close();
    expect(await before).toBeInstanceOf(ClosedError);
  });

  test("that waits for room is not disturbed by one that is being filled", async () => {
    const { opened, open } = gate();
    const work = async (request: Frame) => {
      await opened;
      return request.toArray();
    };
    using served = serve(work, { config: TINY });
    using client = served.connect();
    for (let i = 1; i < TINY_FRAMES; i++) client.sendRequest(bytesOf(i, 100));
    const large = answerTo(client, bytesOf(50, 200));
    const { buffer } = client.acquireRequestBuffer(50);
    open();
    await eventually(() => served.server.statistics.responses === TINY_FRAMES - 1);
    await turns(5);
    buffer.set(bytesOf(60, 50));
    client.commitRequest();
    expect(await large).toEqual(bytesOf(50, 200));
    for (let i = 1; i < TINY_FRAMES; i++) expect((await receivedBytes(client))[0]).toBe(i);
    expect(await receivedBytes(client)).toEqual([TINY_FRAMES, bytesOf(60, 50)]);
  });

  test("that is given up after its time or aborted is cancelled, and the others are answered", async () => {
    const { opened, open } = gate();
    const work = async (request: Frame) => {
      if (request.sequence <= 2) await opened;
      return request.toArray();
    };
    using served = serve(work);
    using client = served.connect();
    expect(await answerTo(client, bytesOf(1, 100), 5)).toBeUndefined();
    const abort = new AbortController();
    const aborted = client.request(bytesOf(2, 100), { signal: abort.signal });
    const third = answerTo(client, bytesOf(3, 100));
    abort.abort(new Error("no longer wanted"));
    expect(await rejectionOf(aborted)).toMatchObject({ message: "no longer wanted" });
    const sent = client.sendRequest(bytesOf(4, 100));
    open();
    expect(await third).toEqual(bytesOf(3, 100));
    expect(await receivedBytes(client)).toEqual([sent, bytesOf(4, 100)]);
    expect(client.receiveResponse(0).isValid).toBe(false);
    expect(served.server.statistics).toMatchObject({ responses: 2, cancelled: 2 });
  });

  test("that is answered long after thousands of later ones still gets its own response", async () => {
    const { opened, open } = gate();
    const work = async (request: Frame) => {
      // These two have the same place in a table of any usual size.
      if (request.sequence === 1 || request.sequence === 2049) await opened;
      return request.toArray();
    };
    using served = serve(work, { mode: ProcessingMode.THREAD_POOL });
    using client = served.connect();
    const early = answerTo(client, bytesOf(1, 8));
    let late: Promise<Uint8Array | undefined> | undefined;
    for (let first = 2; first <= 4098; first += 64) {
      const run = Array.from({ length: 64 }, (_, i) => first + i);
      const answers = run.map((number) => answerTo(client, bytesOf(number, 8)));
      if (run.includes(2049)) late = answers.splice(run.indexOf(2049), 1)[0];
      await Promise.all(answers);
    }
    open();
    expect(await early).toEqual(bytesOf(1, 8));
    expect(await late).toEqual(bytesOf(2049, 8));
  });

  test("that is aborted beforehand, or while it waits for room, is never sent", async () => {
    const { opened, open } = gate();
    const sizes: number[] = [];
    const work = async (request: Frame) => {
      sizes.push(request.size);
      await opened;
      return request.data;
    };
    using served = serve(work, { config: TINY });
    using client = served.connect(TINY);
    const reason = new Error("no longer wanted");
    const early = client.request(bytesOf(1, 99), { signal: AbortSignal.abort(reason) });
    expect(await rejectionOf(early)).toBe(reason);
    const first = Array.from({ length: TINY_FRAMES + 2 }, (_, i) => answerTo(client, bytesOf(i, 100)));
    const abort = new AbortController();
    const aborted = rejectionOf(client.request(bytesOf(1, 98), { signal: abort.signal }));
    const last = answerTo(client, bytesOf(1, 97));
    abort.abort(reason);
    expect(await aborted).toBe(reason);
    open();
    await Promise.all([...first, last]);
    expect(sizes).toEqual([...new Array(TINY_FRAMES + 2).fill(100), 97]);
  });

  test("that is pending or waits for room rejects when its client closes", async () => {
    using served = serve(() => new Promise(() => {}), { config: TINY });
    const client = served.connect();
    const all = Array.from({ length: 12 }, () => rejectionOf(client.request(bytesOf(1, 100))));
    client.close();
    client.close();
    for (const error of await Promise.all(all)) expect(error).toBeInstanceOf(ClosedError);
    expect(await rejectionOf(client.request(bytesOf(1, 1)))).toBeInstanceOf(ClosedError);
    expect(thrownBy(() => client.receiveResponse(0))).toBeInstanceOf(ClosedError);
    expect(thrownBy(() => client.sendRequest(bytesOf(1, 1)))).toBeInstanceOf(ClosedError);
    expect(thrownBy(() => client.isServerConnected)).toBeInstanceOf(ClosedError);
    expect(thrownBy(() => client.checkServer())).toBeInstanceOf(ClosedError);
  });
});
