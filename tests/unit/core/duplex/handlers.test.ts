// The handlers of a server: their order, how many are at work, and what they answer.

import { describe, expect, test } from "bun:test";
import {
  type Frame,
  FrameTooLargeError,
  InvalidFrameSizeError,
  ProcessingMode,
  ReaderDeadError,
} from "../../../../src/core/index.ts";
import { bytesOf, eventually, WAIT_LIMIT_MS } from "../../../support/buffers.ts";
import {
  answerTo,
  echo,
  gate,
  receivedBytes,
  Shift,
  serve,
  serveInPlace,
  TINY,
  turn,
  turns,
} from "./served.ts";

describe("handlers", () => {
  test("are at work one after another in SINGLE_THREAD, and answer in order", async () => {
    const shift = new Shift();
    using served = serve(shift.handler((request) => turns(4 - request.sequence)));
    using client = served.connect();
    for (let i = 1; i <= 3; i++) client.sendRequest(bytesOf(i, 100));
    for (let i = 1; i <= 3; i++) expect((await receivedBytes(client))[0]).toBe(i);
    expect(shift.most).toBe(1);
  });

  test("are at work at once in THREAD_POOL", async () => {
    const shift = new Shift();
    // None of them ends before all have begun.
    const work = () => eventually(() => shift.now === 3 || shift.most === 3);
    using served = serve(shift.handler(work), { mode: ProcessingMode.THREAD_POOL });
    using client = served.connect();
    await Promise.all([1, 2, 3].map((i) => answerTo(client, bytesOf(i, 100))));
    expect([shift.most, served.failed]).toEqual([3, []]);
  });

  test("are never more at once than the limit, which they reach", async () => {
    const shift = new Shift();
    const { opened, open } = gate();
    using served = serve(
      shift.handler(() => opened),
      { mode: ProcessingMode.THREAD_POOL, concurrency: 4 },
    );
    using client = served.connect();
    const answers = Array.from({ length: 20 }, (_, i) => answerTo(client, bytesOf(i, 100)));
    await eventually(() => shift.now === 4);
    await turns(10);
    expect(shift.started).toBe(4);
    open();
    await Promise.all(answers);
    expect(shift.most).toBe(4);
  });

  test("that end in reverse order answer in that order, each to its own request", async () => {
    const requests: (() => void)[] = [];
    const work = async (request: Frame) => {
      await new Promise<void>((resolve) => void requests.push(resolve));
      return request.data;
    };
    using served = serve(work, { mode: ProcessingMode.THREAD_POOL });
    using client = served.connect();
    for (let i = 1; i <= 5; i++) client.sendRequest(bytesOf(i, 100));
    const asked = answerTo(client, bytesOf(6, 100));
    await eventually(() => requests.length === 6);
    for (const [i, end] of requests.reverse().entries()) {
      end();
      await eventually(() => served.server.statistics.responses === i + 1);
    }
    expect(await asked).toEqual(bytesOf(6, 100));
    for (let i = 5; i >= 1; i--) expect(await receivedBytes(client)).toEqual([i, bytesOf(i, 100)]);
  });

  for (const [how, failing] of [
    ["throws", (request: Frame) => fail(request)],
    ["rejects", async (request: Frame) => fail(request)],
  ] as const) {
    test.each([ProcessingMode.SINGLE_THREAD, ProcessingMode.THREAD_POOL])(
      `one that ${how} on every third request leaves exactly those without a response (%s)`,
      async (mode) => {
        using served = serve(failing, { mode });
        using client = served.connect();
        const answers = Array.from({ length: 9 }, (_, i) =>
          answerTo(client, bytesOf(i + 1, 10), (i + 1) % 3 === 0 ? 50 : WAIT_LIMIT_MS),
        );
        for (const [i, answer] of (await Promise.all(answers)).entries()) {
          expect(answer).toEqual((i + 1) % 3 === 0 ? undefined : bytesOf(i + 1, 10));
        }
        expect(served.errors.map(({ error, sequence }) => [error.message, sequence])).toEqual([
          ["request 3", 3],
          ["request 6", 6],
          ["request 9", 9],
        ]);
        expect(await answerTo(client, bytesOf(10, 10))).toEqual(bytesOf(10, 10));
      },
    );
  }

  function fail(request: Frame): Uint8Array {
    if (request.sequence % 3 === 0) throw new Error(`request ${request.sequence}`);
    return request.data;
  }

  test("that return what cannot be a response are reported, and the next request is answered", async () => {
    const results: unknown[] = [
      new Uint8Array(0),
      new Uint8Array(1009),
      "text",
      undefined,
      Promise.resolve(null),
      bytesOf(9, 9),
    ];
    using served = serve((request) => results[request.sequence - 1] as Uint8Array);
    using client = served.connect(TINY);
    for (const _ of results) client.sendRequest(bytesOf(1, 1));
    expect(await receivedBytes(client)).toEqual([6, bytesOf(9, 9)]);
    expect(served.failed).toEqual([1, 2, 3, 4, 5]);
    const types = [InvalidFrameSizeError, FrameTooLargeError, TypeError, TypeError, TypeError];
    for (const [i, type] of types.entries()) expect(served.errors[i]?.error).toBeInstanceOf(type);
  });

  test("that throw what is no error are reported with one", async () => {
    using served = serve(() => {
      throw "a word";
    });
    using client = served.connect();
    client.sendRequest(bytesOf(1, 1));
    await eventually(() => served.errors.length === 1);
    expect(served.errors[0]?.error).toEqual(new Error("a word"));
  });

  test("that meet a dead reader of their own fail alone, and their client is served on", async () => {
    using served = serve((request) => {
      if (request.sequence === 1) throw new ReaderDeadError("left", "another buffer", { buffer: "another" });
      return request.data;
    });
    using client = served.connect();
    client.sendRequest(bytesOf(1, 1));
    expect(await answerTo(client, bytesOf(2, 10))).toEqual(bytesOf(2, 10));
    expect(served.failed).toEqual([1]);
  });

  test("that change requests in place answer the same bytes as those that make new ones", async () => {
    const xor = (bytes: Uint8Array) => bytes.map((byte) => byte ^ 0x5a);
    const inPlace = (request: Frame) => {
      const bytes = request.getMutableSpan();
      bytes.set(xor(bytes));
    };
    using immutable = serve((request) => xor(request.data));
    using mutable = serveInPlace(inPlace);
    using late = serveInPlace(async (request) => {
      await turn();
      inPlace(request);
    });
    // As a program without types may have it.
    using careless = serveInPlace(
      (request) => request.getMutableSpan().set(xor(request.data)) ?? (7 as never),
    );
    for (const served of [immutable, mutable, late, careless]) {
      using client = served.connect();
      for (const size of [1, 63, 5000]) {
        expect(await answerTo(client, bytesOf(size, size))).toEqual(xor(bytesOf(size, size)));
      }
      expect(served.errors).toEqual([]);
    }
  });

  test("that never wait leave timers their turn, however long each one takes", async () => {
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    const seen: number[] = [];
    const work = (request: Frame) => {
      seen.push(ticks);
      const end = performance.now() + 6;
      while (performance.now() < end);
      return request.data;
    };
    try {
      using served = serve(work);
      using client = served.connect();
      for (let i = 1; i <= 20; i++) client.sendRequest(bytesOf(i, 10));
      await eventually(() => served.server.statistics.responses === 20);
    } finally {
      clearInterval(timer);
    }
    for (let i = 2; i < seen.length; i++) expect(seen[i]).toBeGreaterThan(seen[i - 2] as number);
  });

  test("of a flood leave timers their turn", async () => {
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    try {
      using served = serve(echo);
      using client = served.connect();
      let answered = 0;
      const ask = async () => {
        // As long as it takes until timers have fired often.
        for (let i = 0; ticks < 50 && i < 100_000; i++) {
          (await client.request(bytesOf(1, 64))).release();
          answered++;
        }
      };
      await Promise.all(Array.from({ length: 16 }, ask));
      expect(ticks).toBeGreaterThanOrEqual(50);
      expect(answered).toBeGreaterThan(50);
    } finally {
      clearInterval(timer);
    }
  });
});
