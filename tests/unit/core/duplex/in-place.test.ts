// Responses that lie in the request buffer: shared instead of copied, and what they keep from being used.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import {
  BufferFullError,
  type ClientOptions,
  ClosedError,
  type DuplexResponse,
  type IDuplexClient,
  type IDuplexServer,
  type MutableRequestHandler,
  ProcessingMode,
  type RequestContext,
  WriterDeadError,
} from "../../../../src/core/index.ts";
import {
  bytesOf,
  eventually,
  rejectionOf,
  thrownBy,
  uniqueName,
  WAIT_LIMIT_MS,
} from "../../../support/buffers.ts";
import { factory, gate, received, type Served, SMALL, serve, serveInPlace, turns, wordOf } from "./served.ts";

/** Large enough to be shared. */
const SIZE = 8192;
/** A ring for four requests of that size. */
const FOUR = { metadataSize: 0, payloadSize: 4 * (SIZE + 16) };
/** A ring for a few responses of 3000 bytes. */
const TINY_RESPONSES = { metadataSize: 0, payloadSize: 12_288 };
const POOL = ProcessingMode.THREAD_POOL;
const TIMEOUT = { timeoutMs: WAIT_LIMIT_MS };

/** Adds 1 to each byte. */
const addOne: MutableRequestHandler = (request) => {
  const bytes = request.getMutableSpan();
  for (let i = 0; i < bytes.length; i++) bytes[i] = (bytes[i] as number) + 1;
};
const added = (sequence: number, size = SIZE) => bytesOf(sequence + 1, size);

/** A client that shares with its server. */
async function connect(served: Served<IDuplexServer>, options: ClientOptions = {}): Promise<IDuplexClient> {
  const client = served.connect(SMALL, { allowPayloadSharing: true, ...options });
  await sharing(client, served.channel);
  return client;
}

/** Resolves when the client has the requests mapped. */
async function sharing(client: IDuplexClient, channel: string): Promise<void> {
  await eventually(() => {
    expect(client.receiveResponse(0).isValid).toBe(false);
    return wordOf(channel, "response", "answer") !== 0n;
  });
}

/** How many bytes of the request buffer are in use. */
function inUse({ channel }: Served<IDuplexServer>): number {
  const [size = 0n, free = 0n] = (["payloadSize", "payloadFreeBytes"] as const).map((word) =>
    wordOf(channel, "request", word),
  );
  return Number(size - free);
}

/** Whether this process has the request buffer of a channel mapped. */
const isMapped = (channel: string) => readFileSync("/proc/self/maps", "utf8").includes(`/${channel}_request`);

/** What a response is, and whether it is shared; releases it. */
function take(response: DuplexResponse): [number, boolean, Uint8Array] {
  using _ = response;
  return [response.sequence, response.isShared, response.toArray()];
}

async function untilAborted({ signal }: RequestContext): Promise<void> {
  await new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener("abort", () => reject(signal.reason));
  });
}

describe("responses of a mutable server", () => {
  test("to a client that allows it are its requests, changed in place", async () => {
    using served = serveInPlace(addOne);
    using client = await connect(served);
    for (let i = 1; i <= 200; i++) {
      expect(client.sendRequest(bytesOf(i, SIZE))).toBe(i);
      expect(take(await received(client))).toEqual([i, true, added(i)]);
    }
    expect(take(await client.request(bytesOf(3, SIZE), TIMEOUT))).toEqual([201, true, added(3)]);
    const { buffer, sequence } = client.acquireRequestBuffer(SIZE);
    buffer.set(bytesOf(4, SIZE));
    client.commitRequest();
    expect(take(await received(client))).toEqual([sequence, true, added(4)]);
    expect(served.server.statistics).toMatchObject({
      responses: 202,
      responsesShared: 202,
      bytesOut: 202 * SIZE,
    });
    await eventually(() => inUse(served) === 0);
    expect(served.errors).toEqual([]);
  });

  test.each([
    { to: "a client that does not allow it", allowPayloadSharing: false, size: SIZE },
    { to: "small requests", allowPayloadSharing: true, size: 4095 },
  ])("to $to are copies, and keep no room", async ({ allowPayloadSharing, size }) => {
    using served = serveInPlace(addOne, { config: FOUR });
    using client = served.connect(SMALL, { allowPayloadSharing });
    if (allowPayloadSharing) await sharing(client, served.channel);
    const held: DuplexResponse[] = [];
    for (let i = 1; i <= 20; i++) {
      client.sendRequest(bytesOf(i, size));
      held.push(await received(client));
      await eventually(() => inUse(served) === 0);
    }
    for (const [i, response] of held.entries())
      expect(take(response)).toEqual([i + 1, false, added(i + 1, size)]);
    expect(served.server.statistics).toMatchObject({ responses: 20, responsesShared: 0 });
  });

  test("are never shared by a server whose responses are bytes of their own", async () => {
    using served = serve((request) => request.data);
    using client = served.connect(SMALL, { allowPayloadSharing: true });
    for (let i = 1; i <= 20; i++) {
      client.sendRequest(bytesOf(i, SIZE));
      expect(take(await received(client))).toEqual([i, false, bytesOf(i, SIZE)]);
    }
    expect(wordOf(served.channel, "response", "answer")).toBe(0n);
  });

  test("that are shared give a private copy to who changes them", async () => {
    using served = serveInPlace(addOne);
    using client = await connect(served);
    client.sendRequest(bytesOf(1, SIZE));
    const response = await received(client);
    const lent = response.data;
    const copy = response.getMutableSpan();
    copy.fill(0);
    expect([...response.data.subarray(0, 3)]).toEqual([0, 0, 0]);
    expect(lent).toEqual(added(1));
    response.release();
  });

  test("take room in the request buffer until they are released, in whatever order, shared or not", async () => {
    using served = serveInPlace(addOne, { config: FOUR });
    using client = await connect(served);
    const held: DuplexResponse[] = [];
    for (let i = 1; i <= 4; i++) {
      client.sendRequest(bytesOf(i, SIZE));
      held.push(await received(client));
    }
    expect(inUse(served)).toBe(FOUR.payloadSize);
    const full = await rejectionOf(client.request(bytesOf(5, SIZE), { timeoutMs: 20 }));
    expect(full).toBeInstanceOf(BufferFullError);
    expect((full as BufferFullError).hint).toContain("release");
    const [first, second, third, fourth] = held as [
      DuplexResponse,
      DuplexResponse,
      DuplexResponse,
      DuplexResponse,
    ];
    for (const [i, response] of [second, third].entries())
      expect(take(response)).toEqual([i + 2, true, added(i + 2)]);
    await turns(20);
    expect(inUse(served)).toBe(FOUR.payloadSize);
    // A small request finds no room, either; it waits, and is answered by a copy once there is some.
    const small = client.request(bytesOf(6, 10), TIMEOUT);
    expect(take(first)).toEqual([1, true, added(1)]);
    expect(take(await small)).toEqual([5, false, added(6, 10)]);
    expect(take(fourth)).toEqual([4, true, added(4)]);
    await eventually(() => inUse(served) === 0);
    expect(served.server.statistics).toMatchObject({ responses: 5, responsesShared: 4 });
  });

  test("leave the response buffer nearly empty: there is room for many more than it could hold", async () => {
    using served = serveInPlace(addOne);
    using client = served.connect({ metadataSize: 0, payloadSize: 2 * SIZE }, { allowPayloadSharing: true });
    await sharing(client, served.channel);
    for (let i = 1; i <= 20; i++) client.sendRequest(bytesOf(i, SIZE));
    await eventually(() => served.server.statistics.responses === 20);
    for (let i = 1; i <= 20; i++) expect(take(await received(client))).toEqual([i, true, added(i)]);
  });

  test("come from several handlers in any order, each shared or copied", async () => {
    const gates = Array.from({ length: 12 }, gate);
    const handler: MutableRequestHandler = async (request, context) => {
      await gates[request.sequence - 1]?.opened;
      await addOne(request, context);
    };
    using served = serveInPlace(handler, { mode: POOL });
    using client = await connect(served);
    const sizeOf = (sequence: number) => (sequence % 3 === 0 ? 100 : SIZE);
    for (let i = 1; i <= 12; i++) client.sendRequest(bytesOf(i, sizeOf(i)));
    await eventually(() => served.server.statistics.requests === 12);
    const held: DuplexResponse[] = [];
    for (const sequence of [7, 3, 12, 1, 10, 2, 9, 6, 11, 4, 8, 5]) {
      gates[sequence - 1]?.open();
      const response = await received(client);
      expect([response.sequence, response.isShared]).toEqual([sequence, sizeOf(sequence) === SIZE]);
      if (sequence % 2 === 0) held.push(response);
      else expect(take(response)[2]).toEqual(added(sequence, sizeOf(sequence)));
    }
    for (const response of held)
      expect(take(response)[2]).toEqual(added(response.sequence, sizeOf(response.sequence)));
    await eventually(() => inUse(served) === 0);
    expect(served.server.statistics).toMatchObject({ responses: 12, responsesShared: 8 });
    expect(served.errors).toEqual([]);
  });

  test("many at once are whole, whoever waits for room", async () => {
    for (const mode of [ProcessingMode.SINGLE_THREAD, POOL]) {
      using served = serveInPlace(
        async (request, context) => {
          if (request.sequence % 5 === 0) await turns(1);
          await addOne(request, context);
        },
        { mode, config: FOUR },
      );
      // Room for few small responses: these wait for room, too.
      using client = served.connect(TINY_RESPONSES, { allowPayloadSharing: true });
      await sharing(client, served.channel);
      let asked = 0;
      const ask = async () => {
        while (asked < 1000) {
          const i = ++asked;
          const size = i % 4 === 0 ? 3000 : SIZE;
          const [, , bytes] = take(await client.request(bytesOf(i, size), TIMEOUT));
          if (Buffer.compare(bytes, added(i, size)) !== 0)
            throw new Error(`response to request ${i} is wrong`);
        }
      };
      await Promise.all(Array.from({ length: 16 }, ask));
      const { responses, responsesShared } = served.server.statistics;
      expect([responses, responsesShared]).toEqual([1000, 750]);
      await eventually(() => inUse(served) === 0);
      expect(served.errors).toEqual([]);
    }
  });

  test("of a handler that fails release the request, and the others are answered", async () => {
    using served = serveInPlace((request, context) => {
      if (request.sequence % 2 === 0) throw new Error("no");
      if (request.sequence === 3) request.release();
      return addOne(request, context);
    });
    using client = await connect(served);
    for (let i = 1; i <= 5; i++) client.sendRequest(bytesOf(i, SIZE));
    expect(take(await received(client))).toEqual([1, true, added(1)]);
    expect(take(await received(client))).toEqual([5, true, added(5)]);
    await eventually(() => inUse(served) === 0);
    expect(served.failed).toEqual([2, 3, 4]);
  });
});

describe("a cancelled request", () => {
  test("gives its room back if it was not answered", async () => {
    const { opened, open } = gate();
    using served = serveInPlace(() => opened);
    using client = await connect(served);
    for (let i = 1; i <= 3; i++) client.sendRequest(bytesOf(i, SIZE));
    await eventually(() => served.server.statistics.requests === 1);
    expect([1, 2].map((sequence) => client.cancelRequest(sequence))).toEqual([true, true]);
    open();
    expect(take(await received(client))).toEqual([3, true, bytesOf(3, SIZE)]);
    await eventually(() => inUse(served) === 0);
    expect([served.cancelled, served.server.statistics.responsesShared]).toEqual([[1, 2], 1]);
  });

  test("that is answered already takes room until the client has dropped the response", async () => {
    using served = serveInPlace(addOne, { config: FOUR });
    using client = await connect(served);
    for (let i = 1; i <= 4; i++) client.sendRequest(bytesOf(i, SIZE));
    await eventually(() => served.server.statistics.responses === 4);
    for (let i = 1; i <= 3; i++) expect(client.cancelRequest(i)).toBe(true);
    await turns(20);
    expect(inUse(served)).toBe(FOUR.payloadSize);
    // It waits for room, and reads meanwhile.
    expect(take(await client.request(bytesOf(5, SIZE), TIMEOUT))).toEqual([5, true, added(5)]);
    expect(take(await received(client))).toEqual([4, true, added(4)]);
    await eventually(() => inUse(served) === 0);
    expect(served.cancelled).toEqual([]);
  });

  test("stops its handler while others are read and answered", async () => {
    const stopped: number[] = [];
    const handler: MutableRequestHandler = async (request, context) => {
      if (request.sequence > 1) return;
      const { sequence } = request;
      await untilAborted(context).finally(() => stopped.push(sequence));
    };
    using served = serveInPlace(handler, { mode: POOL });
    using client = await connect(served);
    client.sendRequest(bytesOf(1, SIZE));
    await eventually(() => served.server.statistics.requests === 1);
    expect(client.cancelRequest(1)).toBe(true);
    for (let i = 2; stopped.length === 0; i++) {
      expect(take(await client.request(bytesOf(i, SIZE), TIMEOUT))).toEqual([i, true, bytesOf(i, SIZE)]);
    }
    expect(stopped).toEqual([1]);
    await eventually(() => inUse(served) === 0);
    expect(served.cancelled).toEqual([1]);
  });
});

describe("shared responses", () => {
  test("of a client that leaves are given back, and the next client has the whole buffer", async () => {
    using served = serveInPlace(addOne, { config: FOUR });
    for (let round = 1; round <= 5; round++) {
      using client = await factory.connectClient(served.channel, {
        config: SMALL,
        connectTimeoutMs: WAIT_LIMIT_MS,
        allowPayloadSharing: true,
      });
      await sharing(client, served.channel);
      for (let i = 1; i <= 4; i++) client.sendRequest(bytesOf(i, SIZE));
      // One is held, the others are unread.
      const held = await received(client);
      expect([held.sequence, held.isShared]).toEqual([1, true]);
      await eventually(() => served.server.statistics.responses === 4 * round);
      expect(inUse(served)).toBe(FOUR.payloadSize);
      client.close();
      expect(thrownBy(() => held.data)).toBeInstanceOf(ClosedError);
    }
    await eventually(() => inUse(served) === 0);
    expect(served.server.statistics).toMatchObject({ clients: 5, responsesShared: 20 });
    expect(served.errors).toEqual([]);
  });

  test("outlive the server, until they are released", async () => {
    const served = serveInPlace(addOne, { config: FOUR });
    using client = await connect(served);
    for (let i = 1; i <= 3; i++) client.sendRequest(bytesOf(i, SIZE));
    const held = await received(client);
    await eventually(() => served.server.statistics.responses === 3);
    served.server.stop();
    expect(held.data).toEqual(added(1));
    // Those that are unread, too.
    expect(take(await received(client))).toEqual([2, true, added(2)]);
    const last = await received(client);
    expect(thrownBy(() => client.receiveResponse(0))).toBeInstanceOf(WriterDeadError);
    expect([held.data, last.data]).toEqual([added(1), added(3)]);
    held.release();
    last.release();
  });

  test("do not keep the memory of a server that has gone", async () => {
    const served = serveInPlace(addOne, { config: FOUR });
    const client = await connect(served, { reconnect: true });
    client.sendRequest(bytesOf(1, SIZE));
    const held = await received(client);
    served.server.stop();
    expect(isMapped(served.channel)).toBe(true);
    expect(thrownBy(() => client.receiveResponse(0))).toBeInstanceOf(WriterDeadError);
    await turns(5);
    expect(isMapped(served.channel)).toBe(false);
    held.release();
    client.close();
  });

  test("come from the next server of a client that reconnects", async () => {
    const channel = uniqueName();
    const first = serveInPlace(addOne, { channel });
    using client = await connect(first, { reconnect: true });
    expect(take(await client.request(bytesOf(1, SIZE), TIMEOUT))).toEqual([1, true, added(1)]);
    first.server.stop();
    const waiting = client.request(bytesOf(2, SIZE), TIMEOUT);
    using _second = serveInPlace(addOne, { channel });
    expect(take(await waiting)[2]).toEqual(added(2));
    await sharing(client, channel);
    expect(take(await client.request(bytesOf(3, SIZE), TIMEOUT))).toEqual([2, true, added(3)]);
  });
});
