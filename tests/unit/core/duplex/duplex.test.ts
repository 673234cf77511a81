// Duplex channels whose two sides are in this process: the server runs in the background of the same event loop.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  type BufferConfig,
  BufferFullError,
  ClosedError,
  CorruptBufferError,
  DuplexChannelFactory,
  type DuplexResponse,
  type Frame,
  FrameTooLargeError,
  type IDuplexClient,
  type IDuplexServer,
  type IImmutableDuplexServer,
  type IMutableDuplexServer,
  InvalidFrameSizeError,
  InvalidNameError,
  ProcessingMode,
  Reader,
  ReaderDeadError,
  type RequestHandler,
  type StartOptions,
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

const SMALL = { metadataSize: 256, payloadSize: 256 * 1024 };
/** A ring for eight frames of a hundred bytes. */
const TINY = { metadataSize: 0, payloadSize: 1024 };
const TINY_FRAMES = 8;
const factory = DuplexChannelFactory.getInstance();
const echo: RequestHandler = (request) => request.data;

interface ServeOptions extends StartOptions {
  channel?: string;
  config?: BufferConfig;
  mode?: ProcessingMode;
}

/** A server at work, and what it tells. */
class Served<T extends IDuplexServer> implements Disposable {
  readonly channel: string;
  readonly server: T;
  readonly errors: { error: Error; sequence: number }[] = [];
  readonly metadata: string[] = [];
  stops = 0;

  constructor(channel: string, server: T, start: (server: T) => void) {
    this.channel = channel;
    this.server = server;
    server.onError = (error, sequence) => void this.errors.push({ error, sequence });
    server.onMetadata = (metadata) => void this.metadata.push(new TextDecoder().decode(metadata));
    server.onStop = () => void this.stops++;
    start(server);
  }

  /** Numbers of the requests that got no response. */
  get failed(): number[] {
    return this.errors.map(({ sequence }) => sequence);
  }

  connect(config: BufferConfig = SMALL): IDuplexClient {
    return factory.createClient(this.channel, { config });
  }

  [Symbol.dispose](): void {
    this.server.stop();
  }
}

function serve(handler: RequestHandler, options: ServeOptions = {}): Served<IImmutableDuplexServer> {
  const { channel = uniqueName(), config = SMALL, mode, ...start } = options;
  return new Served(channel, factory.createImmutableServer(channel, config), (server) =>
    server.start(handler, mode, start),
  );
}

function serveInPlace(handler: (request: Frame) => void | Promise<void>): Served<IMutableDuplexServer> {
  const channel = uniqueName();
  return new Served(channel, factory.createMutableServer(channel, SMALL), (server) => server.start(handler));
}

/** The next response to what was sent, without blocking the event loop that the server needs. */
async function received(client: IDuplexClient): Promise<DuplexResponse> {
  for (;;) {
    const response = client.receiveResponse(0);
    if (response.isValid) return response;
    await turn();
  }
}

/** Number and bytes of the next response. */
async function receivedBytes(client: IDuplexClient): Promise<[number, Uint8Array]> {
  using response = await received(client);
  return [response.sequence, response.toArray()];
}

/** The bytes of a request's response; undefined after the timeout. */
async function answerTo(
  client: IDuplexClient,
  data: Uint8Array,
  timeoutMs = WAIT_LIMIT_MS,
): Promise<Uint8Array | undefined> {
  using response = await client.request(data, { timeoutMs });
  return response.isValid ? response.toArray() : undefined;
}

/** Lets the event loop look at everything that waits. */
async function turn(): Promise<void> {
  await Bun.sleep(1);
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await turn();
}

/** Something that others wait for. */
function gate(): { opened: Promise<void>; open: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { opened: promise, open: resolve };
}

/** Counts the handlers at work. */
class Shift {
  now = 0;
  most = 0;
  started = 0;

  /** An echo that takes as long as `work`. */
  readonly handler =
    (work: (request: Frame) => Promise<unknown>): RequestHandler =>
    async (request) => {
      this.started++;
      this.most = Math.max(this.most, ++this.now);
      await work(request);
      this.now--;
      return request.data;
    };
}

/** A server made by hand, which answers whatever and however it likes. */
class Forger implements Disposable {
  readonly channel = uniqueName();
  readonly requests = new Reader(`${this.channel}_request`, SMALL);
  readonly client = factory.createClient(this.channel, { config: TINY });
  readonly #responses = new Writer(`${this.channel}_response`, { writeTimeout: 0 });

  /** False: there is no room. */
  respond(sequence: number, data: Uint8Array): boolean {
    this.#responses.nextSequence = sequence;
    return this.#responses.tryWriteFrame(data);
  }

  [Symbol.dispose](): void {
    this.client.close();
    this.#responses.close();
    this.requests.close();
  }
}

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

  test("gives up after its time, and the late response goes to nobody else", async () => {
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
    expect(served.server.statistics.responses).toBe(4);
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
  });
});

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
    served.server.stop();
    expect(client.isServerConnected).toBe(false);
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
    const unanswered = rejectionOf(client.request(bytesOf(1, 10)));
    await turns(100);
    expect(served.server.statistics.requests).toBe(0);
    intruder.close();
    expect(await unanswered).toBeInstanceOf(WriterDeadError);
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

describe("a client", () => {
  test("drops responses that nobody asked for, and gives their space back", async () => {
    using forger = new Forger();
    const { client } = forger;
    const answers = [1, 2, 3].map((i) => answerTo(client, bytesOf(i, 50)));
    for (const [sequence, mark] of [
      [2, 2],
      [2, 9],
      [99, 9],
      [1, 1],
      [1, 9],
    ] as const) {
      while (!forger.respond(sequence, bytesOf(mark, 100))) await turn();
    }
    for (let i = 0; i < 100; i++) while (!forger.respond(1 + (i % 2), bytesOf(9, 100))) await turn();
    while (!forger.respond(3, bytesOf(3, 100))) await turn();
    expect(await Promise.all(answers)).toEqual([bytesOf(1, 100), bytesOf(2, 100), bytesOf(3, 100)]);
  });

  test("drops them also where responses are received one by one", async () => {
    using forger = new Forger();
    const { client } = forger;
    const first = client.sendRequest(bytesOf(1, 50));
    const second = client.sendRequest(bytesOf(2, 50));
    const asked = answerTo(client, bytesOf(3, 50));
    for (const [sequence, mark] of [
      [second, 2],
      [second, 9],
      [77, 9],
      [first, 1],
      [3, 3],
      [3, 9],
      [first, 9],
    ] as const) {
      expect(forger.respond(sequence, bytesOf(mark, 60))).toBe(true);
    }
    expect(await asked).toEqual(bytesOf(3, 60));
    expect(await receivedBytes(client)).toEqual([second, bytesOf(2, 60)]);
    expect(await receivedBytes(client)).toEqual([first, bytesOf(1, 60)]);
    expect(client.receiveResponse(0).isValid).toBe(false);
    expect(forger.respond(1, bytesOf(1, 1008))).toBe(true);
  });

  test("returns an invalid response when none has come in time", async () => {
    using forger = new Forger();
    const { client } = forger;
    client.sendRequest(bytesOf(1, 1));
    const start = performance.now();
    expect(client.receiveResponse(120).isValid).toBe(false);
    expect(performance.now() - start).toBeGreaterThanOrEqual(119);
    expect(thrownBy(() => client.receiveResponse(-1))).toBeInstanceOf(RangeError);
  });

  test("is refused where there is no server, or another client, and has made nothing then", () => {
    const channel = uniqueName();
    expect(thrownBy(() => factory.createClient(channel))).toMatchObject({ code: "BUFFER_NOT_FOUND" });
    using served = serve(echo, { channel });
    using _first = served.connect();
    expect(thrownBy(() => served.connect())).toMatchObject({ code: "WRITER_ALREADY_CONNECTED" });
  });

  test("that cannot make its response buffer has not connected", async () => {
    using served = serve(echo);
    const occupant = new Reader(`${served.channel}_response`, SMALL);
    expect(thrownBy(() => served.connect())).toMatchObject({ code: "READER_ALREADY_CONNECTED" });
    occupant.close();
    using client = served.connect();
    expect(await answerTo(client, bytesOf(1, 10))).toEqual(bytesOf(1, 10));
  });

  test("waits for its server without blocking, until it is told not to", async () => {
    const channel = uniqueName();
    const connecting = factory.connectClient(channel, { config: SMALL, connectTimeoutMs: WAIT_LIMIT_MS });
    await turns(5);
    using served = serve(echo, { channel });
    using client = await connecting;
    expect(await answerTo(client, bytesOf(1, 10))).toEqual(bytesOf(1, 10));
    served.server.stop();
    const abort = new AbortController();
    const hopeless = factory.connectClient(channel, {
      connectTimeoutMs: WAIT_LIMIT_MS,
      signal: abort.signal,
    });
    const reason = new Error("enough");
    abort.abort(reason);
    expect(await rejectionOf(hopeless)).toBe(reason);
  });

  test.each([1, 2, 3, 4])("keeps responses apart in any mixture of its calls (seed %i)", async (seed) => {
    await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 60 }), mixture), {
      seed,
      numRuns: 6,
    });
  });
});

type Step = { kind: "send" | "fill" | "receive" | "turn" | "request" | "abort" };

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom("send", "send", "fill", "receive", "turn", "request", "request", "abort"),
});

/** Does the steps on one client of a server that answers in any order, with bytes that tell the request. */
async function mixture(steps: Step[]): Promise<void> {
  const work = async (request: Frame) => {
    await turns((request.sequence * 7) % 4);
    return Uint8Array.from([...request.data, request.sequence & 0xff]);
  };
  using served = serve(work, { config: SMALL, mode: ProcessingMode.THREAD_POOL, concurrency: 5 });
  using client = served.connect({ metadataSize: 0, payloadSize: 4096 });
  const sent = new Map<number, number>();
  const requests: Promise<void>[] = [];
  const check = (response: DuplexResponse, mark: number) => {
    expect(Array.from(response.data)).toEqual(
      [mark, mark >> 8, response.sequence & 0xff].map((b) => b & 0xff),
    );
    response.release();
  };
  const ask = async (mark: number, signal?: AbortSignal) => {
    const response = client.request(Uint8Array.of(mark, mark >> 8), { timeoutMs: WAIT_LIMIT_MS, signal });
    if (signal === undefined) check(await response, mark);
    else expect(await rejectionOf(response)).toBe(signal.reason);
  };
  const take = (response: DuplexResponse) => {
    if (!response.isValid) return;
    const mark = sent.get(response.sequence);
    expect(mark).toBeDefined();
    sent.delete(response.sequence);
    check(response, mark as number);
  };
  for (const [mark, step] of steps.entries()) {
    const data = Uint8Array.of(mark, mark >> 8);
    if (step.kind === "send") {
      sent.set(client.sendRequest(data), mark);
    } else if (step.kind === "fill") {
      const { sequence, buffer } = client.acquireRequestBuffer(2);
      buffer.set(data);
      client.commitRequest();
      sent.set(sequence, mark);
    } else if (step.kind === "receive") {
      take(client.receiveResponse(0));
    } else if (step.kind === "turn") {
      await turn();
    } else {
      const abort = new AbortController();
      requests.push(ask(mark, step.kind === "abort" ? abort.signal : undefined));
      abort.abort(new Error(`request ${mark}`));
    }
  }
  await Promise.all(requests);
  while (sent.size > 0) take(await received(client));
  expect(client.receiveResponse(0).isValid).toBe(false);
  expect(served.errors).toEqual([]);
}

describe("the name of a channel", () => {
  test("has up to 236 bytes, so that both buffers can have theirs", async () => {
    const longest = uniqueName().padEnd(236, "x");
    using served = serve(echo, { channel: longest });
    using client = served.connect();
    expect(await answerTo(client, bytesOf(1, 10))).toEqual(bytesOf(1, 10));
    for (const name of [`${longest}x`, "", "a/b", ".hidden"]) {
      expect(thrownBy(() => factory.createImmutableServer(name))).toBeInstanceOf(InvalidNameError);
      expect(thrownBy(() => factory.createMutableServer(name))).toBeInstanceOf(InvalidNameError);
      expect(thrownBy(() => factory.createClient(name))).toBeInstanceOf(InvalidNameError);
      expect(await rejectionOf(factory.connectClient(name))).toBeInstanceOf(InvalidNameError);
    }
  });
});
