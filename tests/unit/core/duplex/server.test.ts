// A server: its start and end, its clients, and what it reports.

import { describe, expect, test } from "bun:test";
import {
  ClosedError,
  CorruptBufferError,
  DuplexChannelFactory,
  type IDuplexClient,
  type IDuplexServer,
  ProcessingMode,
  Reader,
  ReaderDeadError,
  Writer,
  WriterDeadError,
} from "../../../../src/core/index.ts";
import { SharedMemory } from "../../../../src/native/memory.ts";
import {
  bytesOf,
  eventually,
  rejectionOf,
  thrownBy,
  uniqueName,
  WAIT_LIMIT_MS,
} from "../../../support/buffers.ts";
import {
  answerTo,
  echo,
  factory,
  gate,
  receivedBytes,
  Served,
  Shift,
  SMALL,
  serve,
  TINY,
  TINY_FRAMES,
  turns,
} from "./served.ts";

describe("a server", () => {
  test("waits while the unread responses fill their ring, and goes on as they are read, without loss", async () => {
    using served = serve(echo);
    using client = served.connect(TINY);
    for (let i = 1; i <= 50; i++) client.sendRequest(bytesOf(i, 100));
    await eventually(() => served.server.statistics.responses === TINY_FRAMES);
    await turns(10);
    expect(served.server.statistics).toMatchObject({ requests: TINY_FRAMES + 1, responses: TINY_FRAMES });
    for (let i = 1; i <= 50; i++) expect(await receivedBytes(client)).toEqual([i, bytesOf(i, 100)]);
    expect(served.errors).toEqual([]);
  });

  test("that stops leaves its responses to be read, and then its client knows that it has gone", async () => {
    using served = serve(echo);
    using client = served.connect();
    for (let i = 1; i <= 5; i++) client.sendRequest(bytesOf(i, 100));
    await eventually(() => served.server.statistics.responses === 5);
    expect(client.isServerConnected).toBe(true);
    client.checkServer();
    served.server.stop();
    expect(client.isServerConnected).toBe(false);
    expect(thrownBy(() => client.checkServer())).toMatchObject({ code: "READER_DEAD", reason: "left" });
    for (let i = 1; i <= 5; i++) {
      using response = client.receiveResponse(0);
      expect([response.sequence, response.toArray()]).toEqual([i, bytesOf(i, 100)]);
    }
    const first = thrownBy(() => client.receiveResponse(0)) as WriterDeadError;
    expect(first).toBeInstanceOf(WriterDeadError);
    expect(first.reason).toBe("left");
    const next = thrownBy(() => client.receiveResponse(WAIT_LIMIT_MS)) as ReaderDeadError;
    expect(next).toBeInstanceOf(ReaderDeadError);
    expect(next.reason).toBe("left");
    expect(await rejectionOf(client.request(bytesOf(1, 1)))).toBeInstanceOf(ReaderDeadError);
  });

  test("that stops while handlers are at work drops their results, reports nothing and leaves nothing", async () => {
    for (const mode of [ProcessingMode.SINGLE_THREAD, ProcessingMode.THREAD_POOL]) {
      const { opened, open } = gate();
      const shift = new Shift();
      const served = serve(
        shift.handler(() => opened),
        { mode, concurrency: 2 },
      );
      using client = served.connect();
      const pending = Array.from({ length: 3 }, () => rejectionOf(client.request(bytesOf(1, 10))));
      await eventually(() => shift.now === (mode === ProcessingMode.THREAD_POOL ? 2 : 1));
      served.server.stop();
      expect(served.server.isRunning).toBe(false);
      expect(served.stops).toBe(1);
      const buffer = SharedMemory.open(`${served.channel}_request`);
      expect(typeof buffer).toBe("number");
      open();
      for (const error of await Promise.all(pending)) {
        expect([WriterDeadError, ReaderDeadError]).toContain((error as Error).constructor as never);
      }
      await turns(5);
      expect(served.errors).toEqual([]);
      expect(shift.started).toBe(mode === ProcessingMode.THREAD_POOL ? 2 : 1);
    }
  });

  test("that stops from within its handler answers nothing more", async () => {
    const served = serve((request) => {
      if (request.sequence === 2) served.server.stop();
      return request.data;
    });
    using client = served.connect();
    for (let i = 1; i <= 3; i++) client.sendRequest(bytesOf(i, 10));
    expect((await receivedBytes(client))[0]).toBe(1);
    await eventually(() => !served.server.isRunning);
    expect(thrownBy(() => client.receiveResponse(0))).toBeInstanceOf(WriterDeadError);
    expect(served.server.statistics).toMatchObject({ requests: 2, responses: 1 });
    expect(served.errors).toEqual([]);
  });

  test("that never answered is known to be gone by who waits for it, within a second", async () => {
    const served = serve(() => new Promise(() => {}));
    using client = served.connect();
    const request = rejectionOf(client.request(bytesOf(1, 10), { timeoutMs: WAIT_LIMIT_MS }));
    await eventually(() => served.server.statistics.requests === 1);
    const stoppedAt = performance.now();
    served.server.stop();
    expect(await request).toMatchObject({ reason: "left" });
    expect(performance.now() - stoppedAt).toBeLessThan(1000);
    expect(thrownBy(() => client.receiveResponse(WAIT_LIMIT_MS))).toBeInstanceOf(ReaderDeadError);
  });

  test("that stops before it looked at a request is known to be gone, too", async () => {
    const served = serve(echo);
    using client = served.connect();
    const request = rejectionOf(client.request(bytesOf(1, 10), { timeoutMs: WAIT_LIMIT_MS }));
    served.server.stop();
    expect(await request).toBeInstanceOf(ReaderDeadError);
    expect(served.server.statistics.requests).toBe(0);
  });

  test("starts once at a time, stops as often as it is told to, and starts again", async () => {
    using served = serve(echo);
    expect(served.server.isRunning).toBe(true);
    expect(thrownBy(() => served.server.start(echo))).toBeInstanceOf(ClosedError);
    expect(await answered(served)).toBe(true);
    served.server.stop();
    served.server.stop();
    expect([served.server.isRunning, served.stops]).toEqual([false, 1]);
    served.server.start(echo);
    expect(await answered(served)).toBe(true);
    expect(served.server.statistics).toMatchObject({ clients: 1, requests: 1 });
    served.server.stop();
    expect(served.stops).toBe(2);
  });

  async function answered(served: Served<IDuplexServer>): Promise<boolean> {
    using client = served.connect();
    return (await answerTo(client, bytesOf(1, 10))) !== undefined;
  }

  test("refuses numbers of handlers and requests that are none, and has made nothing then", () => {
    const channel = uniqueName();
    const server = factory.createImmutableServer(channel, SMALL);
    for (const options of [{ concurrency: 0 }, { concurrency: 1.5 }, { limit: 0 }, { limit: Number.NaN }]) {
      expect(thrownBy(() => server.start(echo, ProcessingMode.THREAD_POOL, options))).toBeInstanceOf(
        RangeError,
      );
    }
    expect(server.isRunning).toBe(false);
  });

  test("with a limit stops on its own, once that many requests are answered", async () => {
    using served = serve(echo, { limit: 3, mode: ProcessingMode.THREAD_POOL });
    using client = served.connect();
    for (let i = 1; i <= 5; i++) client.sendRequest(bytesOf(i, 10));
    for (let i = 1; i <= 3; i++) expect((await receivedBytes(client))[0]).toBe(i);
    await eventually(() => served.stops === 1);
    expect(thrownBy(() => client.receiveResponse(0))).toBeInstanceOf(WriterDeadError);
    expect(served.server.statistics).toMatchObject({ requests: 3, responses: 3 });
  });

  test("that blocks gives the event loop one turn after each wait, and answers", async () => {
    using served = serve(echo, { blocks: true });
    const startedAt = performance.now();
    for (let turns = 0; turns < 5; turns++) await new Promise((resolve) => setImmediate(resolve));
    expect(performance.now() - startedAt).toBeGreaterThan(100);
    expect(await answered(served)).toBe(true);
    served.server.stop();
    expect(served.stops).toBe(1);
  });

  test("connects to the response buffer of its client before any request, whichever the client makes first", async () => {
    for (const first of ["requests", "responses"]) {
      const served = serve(echo);
      const { channel } = served;
      const connect = () => new Writer(`${channel}_request`);
      const make = () => new Reader(`${channel}_response`, SMALL);
      using one = first === "requests" ? connect() : make();
      using other = first === "requests" ? make() : connect();
      const responses = (first === "requests" ? other : one) as Reader;
      expect(await responses.isWriterConnectedAsync(WAIT_LIMIT_MS)).toBe(true);
      expect(served.server.statistics).toMatchObject({ clients: 1, requests: 0 });
      responses.close();
      served.server.stop();
    }
  });

  test("outlives its clients, and is told the metadata of each that sends any", async () => {
    using served = serve(echo);
    for (let i = 1; i <= 5; i++) {
      using client = served.connect();
      if (i !== 3) client.setMetadata(new TextEncoder().encode(`client ${i}`));
      expect(await answerTo(client, bytesOf(i, 10))).toEqual(bytesOf(i, 10));
    }
    expect(served.metadata).toEqual(["client 1", "client 2", "client 4", "client 5"]);
    expect(served.server.statistics.clients).toBe(5);
  });

  test("tells clients apart that follow each other before it has looked", async () => {
    using served = serve(echo);
    let last: IDuplexClient | undefined;
    for (let i = 1; i <= 5; i++) {
      // What was released is seen by the next client at once, and the server has no turn before its request.
      last?.close();
      last = served.connect();
      if (i !== 3) last.setMetadata(new TextEncoder().encode(`client ${i}`));
      const data = bytesOf(i, 10);
      expect(await answerTo(last, data)).toEqual(data);
      await eventually(() => served.server.statistics.responses === i);
    }
    last?.close();
    expect(served.metadata).toEqual(["client 1", "client 2", "client 4", "client 5"]);
  });

  test("is told the same metadata by clients that follow each other before it has looked", async () => {
    using served = serve(echo);
    let last: IDuplexClient | undefined;
    for (let i = 1; i <= 5; i++) {
      last?.close();
      last = served.connect();
      if (i !== 3) last.setMetadata(new TextEncoder().encode("the same"));
      await answerTo(last, bytesOf(i, 10));
      await eventually(() => served.server.statistics.responses === i);
    }
    last?.close();
    expect(served.metadata).toEqual(["the same", "the same", "the same", "the same"]);
  });

  test("has the metadata of the client whose request is handled, and none of a client that has sent none", async () => {
    const decoder = new TextDecoder();
    using served: ReturnType<typeof serve> = serve(() => {
      const { metadata } = served.server;
      const text = decoder.decode(metadata);
      // It is a copy.
      metadata.fill(0);
      return new TextEncoder().encode(`<${text}>`);
    });
    for (const text of ["first", "first", undefined, "second", undefined, undefined, "first"]) {
      using client = served.connect();
      if (text !== undefined) client.setMetadata(new TextEncoder().encode(text));
      for (let i = 0; i < 2; i++) {
        expect(decoder.decode(await answerTo(client, bytesOf(1, 10)))).toBe(`<${text ?? ""}>`);
      }
    }
    served.server.stop();
    expect(served.server.metadata).toEqual(new Uint8Array(0));
  });

  test("is told the same metadata by one client after another", async () => {
    const gone: string[] = [];
    const logger = {
      info: (line: string) => void (line.endsWith("has left.") && gone.push(line)),
      warn: () => {},
    };
    const channel = uniqueName();
    const logging = new DuplexChannelFactory({ logger });
    using served = new Served(channel, logging.createImmutableServer(channel, SMALL), (server) =>
      server.start(echo),
    );
    for (let i = 1; i <= 3; i++) {
      const client = served.connect();
      client.setMetadata(new TextEncoder().encode("the same"));
      await answerTo(client, bytesOf(1, 10));
      client.close();
      await eventually(() => gone.length === i);
    }
    expect(served.metadata).toEqual(["the same", "the same", "the same"]);
  });

  test("is told of metadata before the first request comes", async () => {
    using served = serve(echo);
    using client = served.connect();
    client.setMetadata(new TextEncoder().encode("early"));
    await eventually(() => served.metadata.length === 1);
    await answerTo(client, bytesOf(1, 10));
    expect(served.metadata).toEqual(["early"]);
  });

  test("drops what clients leave unread, and serves the next one", async () => {
    using served = serve(echo);
    for (let round = 0; round < 10; round++) {
      const careless = served.connect(TINY);
      for (let i = 1; i <= 30; i++) careless.sendRequest(bytesOf(i, 100));
      if (round % 2 === 0) await turns(round);
      careless.close();
      using client = await factory.connectClient(served.channel, {
        config: SMALL,
        connectTimeoutMs: WAIT_LIMIT_MS,
      });
      expect(await answerTo(client, bytesOf(round, 50))).toEqual(bytesOf(round, 50));
    }
    expect(served.errors).toEqual([]);
  });

  test("leaves its channel to the next server and the next client at once", async () => {
    const channel = uniqueName();
    for (let round = 1; round <= 20; round++) {
      using served = serve(echo, { channel });
      using client = served.connect();
      expect(await answerTo(client, bytesOf(round, 100))).toEqual(bytesOf(round, 100));
    }
  });

  test("makes a channel anew that its client has spoilt, for the next one", async () => {
    const { opened, open } = gate();
    using served = serve(async (request) => {
      if (request.size === 99) await opened;
      return request.toArray();
    });
    const spoiler = served.connect();
    spoiler.sendRequest(bytesOf(1, 99));
    spoiler.sendRequest(bytesOf(2, 100));
    spoil(`${served.channel}_request`, 16 + 99);
    const told = rejectionOf(spoiler.request(bytesOf(3, 10), { timeoutMs: WAIT_LIMIT_MS }));
    open();
    await eventually(() => served.errors.length === 1);
    expect(served.errors[0]).toMatchObject({ sequence: 0, error: { code: "CORRUPT_BUFFER" } });
    expect(served.errors[0]?.error).toBeInstanceOf(CorruptBufferError);
    expect(await told).toMatchObject({ reason: "left" });
    spoiler.close();
    using client = await factory.connectClient(served.channel, {
      config: SMALL,
      connectTimeoutMs: WAIT_LIMIT_MS,
    });
    expect(await answerTo(client, bytesOf(4, 10))).toEqual(bytesOf(4, 10));
    expect(served.server.isRunning).toBe(true);
  });

  test("may be stopped when it reports a spoilt channel, and leaves nothing then", async () => {
    using served = serve(echo);
    served.server.onError = () => served.server.stop();
    using client = served.connect();
    client.sendRequest(bytesOf(1, 10));
    spoil(`${served.channel}_request`, 0);
    await eventually(() => served.stops === 1);
    await turns(5);
    expect(typeof SharedMemory.open(`${served.channel}_request`)).toBe("number");
  });

  /** Forges the size in the header of a frame. */
  function spoil(buffer: string, position: number): void {
    const memory = SharedMemory.open(buffer) as SharedMemory;
    memory.bytes(128 + SMALL.metadataSize + position, 8).fill(0xff);
    memory.close();
  }

  test("waits without harm for a response buffer that somebody else writes to", async () => {
    using served = serve(echo);
    using client = served.connect();
    using intruder = new Writer(`${served.channel}_response`);
    const first = answerTo(client, bytesOf(1, 10)).catch((error: unknown) => error);
    await turns(100);
    expect(served.server.statistics.requests).toBe(0);
    intruder.close();
    // The client sees that the intruder has left, unless the server comes before it looks.
    const outcome = await first;
    if (!(outcome instanceof WriterDeadError)) expect(outcome).toEqual(bytesOf(1, 10));
    expect(await answerTo(client, bytesOf(2, 10))).toEqual(bytesOf(2, 10));
    expect(served.server.statistics.requests).toBe(2);
  });

  test("numbers its responses one after another for a client that takes no others, and keeps their order", async () => {
    const shift = new Shift();
    const work = shift.handler(async (request) => {
      await turns(6 - request.sequence);
      if (request.sequence === 3) throw new Error("no");
    });
    using served = serve(work, { mode: ProcessingMode.THREAD_POOL });
    using requests = new Writer(`${served.channel}_request`);
    using responses = new Reader(`${served.channel}_response`, SMALL);
    for (let i = 1; i <= 5; i++) requests.writeFrame(bytesOf(i, i));
    const got: [number, number][] = [];
    while (got.length < 4) {
      using response = await responses.readFrameAsync(WAIT_LIMIT_MS);
      got.push([response.sequence, response.size]);
    }
    expect(got).toEqual([
      [1, 1],
      [2, 2],
      [3, 4],
      [4, 5],
    ]);
    expect([shift.most, served.failed]).toEqual([2, [3]]);
  });

  test("tells a logger who comes and goes, and what fails", async () => {
    const lines: string[] = [];
    const logger = {
      info: (line: string) => lines.push(line),
      warn: (line: string) => lines.push(`! ${line}`),
    };
    const channel = uniqueName();
    using server = new DuplexChannelFactory({ logger }).createImmutableServer(channel, SMALL);
    server.start(() => {
      throw new Error("no");
    });
    const client = factory.createClient(channel, { config: SMALL });
    client.sendRequest(bytesOf(1, 1));
    await eventually(() => lines.length === 2);
    client.close();
    await eventually(() => lines.length === 3);
    expect(lines).toEqual([
      `A client has connected to channel "${channel}".`,
      `! Request 1 of channel "${channel}" got no response: no`,
      `The client of channel "${channel}" has left.`,
    ]);
  });
});
