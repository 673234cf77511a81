// What a client sends, acquires and remembers. Its server is made by hand: it releases and answers what the test says.

import { describe, expect, test } from "bun:test";
import {
  type BufferConfig,
  BufferFullError,
  ClosedError,
  DuplexChannelFactory,
  type DuplexResponse,
  type Frame,
  type IDuplexClient,
  Reader,
  Writer,
} from "../../../../src/core/index.ts";
import {
  bytesOf,
  listenersOn,
  rejectionOf,
  thrownBy,
  uniqueName,
  WAIT_LIMIT_MS,
} from "../../../support/buffers.ts";

const SMALL = { metadataSize: 0, payloadSize: 64 * 1024 };
/** A ring for eight frames of a hundred bytes. */
const TINY = { metadataSize: 0, payloadSize: 1024 };
const TINY_FRAMES = 8;

class Channel implements Disposable {
  readonly name = uniqueName();
  readonly requests: Reader;
  readonly client: IDuplexClient;
  readonly #responses: Writer;

  constructor({
    requests = SMALL,
    responses = SMALL,
  }: { requests?: BufferConfig; responses?: BufferConfig } = {}) {
    this.requests = new Reader(`${this.name}_request`, requests);
    this.client = DuplexChannelFactory.getInstance().createClient(this.name, { config: responses });
    this.#responses = new Writer(`${this.name}_response`, { writeTimeout: 0 });
  }

  /** The next request; fails if there is none. */
  take(): Frame {
    const request = this.requests.tryReadFrame();
    expect(request.isValid).toBe(true);
    return request;
  }

  /** Answers a request with its own number, as two bytes. */
  respond(sequence: number): void {
    this.#responses.nextSequence = sequence;
    this.#responses.writeFrame(Uint8Array.of(sequence >> 8, sequence));
  }

  /** Answers the next request with its own number, and releases it. */
  answer(): void {
    using request = this.take();
    this.respond(request.sequence);
  }

  [Symbol.dispose](): void {
    this.client.close();
    this.#responses.close();
    this.requests.close();
  }
}

/** The number of a response, which its bytes repeat. */
function numberOf(response: DuplexResponse): number {
  using _ = response;
  expect([...response.data]).toEqual([response.sequence >> 8, response.sequence & 0xff]);
  return response.sequence;
}

function received(client: IDuplexClient): number[] {
  const numbers: number[] = [];
  for (;;) {
    const response = client.receiveResponse(0);
    if (!response.isValid) return numbers;
    numbers.push(numberOf(response));
  }
}

/** Lets everything go on that is ready to. */
async function turn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
}

describe("an acquired request", () => {
  test("lets the requests that come meanwhile wait for its commit, in their order", async () => {
    using channel = new Channel();
    const { client } = channel;
    const { sequence, buffer } = client.acquireRequestBuffer(50);
    const answers = [51, 52, 53].map((size) =>
      client.request(bytesOf(1, size), { timeoutMs: WAIT_LIMIT_MS }),
    );
    await turn();
    expect(channel.requests.tryReadFrame().isValid).toBe(false);
    buffer.set(bytesOf(7, 50));
    client.commitRequest();
    expect(sequence).toBe(1);
    await turn();
    for (const size of [50, 51, 52, 53]) {
      using request = channel.take();
      expect(request.size).toBe(size);
      channel.respond(request.sequence);
    }
    expect((await Promise.all(answers)).map(numberOf)).toEqual([2, 3, 4]);
    expect(received(client)).toEqual([1]);
  });

  test("can be cancelled: it uses no number, nothing is sent, and the others go on", async () => {
    using channel = new Channel();
    const { client } = channel;
    client.acquireRequestBuffer(50).buffer.fill(0xee);
    const answer = client.request(bytesOf(1, 10), { timeoutMs: WAIT_LIMIT_MS });
    client.cancelRequestBuffer();
    client.cancelRequestBuffer();
    channel.answer();
    expect(numberOf(await answer)).toBe(1);
    expect(client.acquireRequestBuffer(20).sequence).toBe(2);
    client.commitRequest();
    using request = channel.take();
    expect([request.sequence, request.size]).toEqual([2, 20]);
  });

  test("keeps calls from sending that would wait for their own thread", () => {
    using channel = new Channel();
    const { client, name } = channel;
    client.acquireRequestBuffer(50);
    for (const use of [() => client.sendRequest(bytesOf(1, 1)), () => client.acquireRequestBuffer(1)]) {
      const error = thrownBy(use) as ClosedError;
      expect(error).toBeInstanceOf(ClosedError);
      expect(error).toMatchObject({ code: "CLOSED", buffer: name });
      expect(error.hint).toContain("commitRequest()");
    }
    client.commitRequest();
    const error = thrownBy(() => client.commitRequest()) as ClosedError;
    expect(error).toMatchObject({ code: "CLOSED", buffer: name });
    expect(error.hint).toContain("acquireRequestBuffer");
    expect(channel.take().size).toBe(50);
  });

  test("that is never sent lets the time of the others pass, and they say why", async () => {
    using channel = new Channel();
    const { client } = channel;
    client.acquireRequestBuffer(50);
    const error = (await rejectionOf(client.request(bytesOf(1, 1), { timeoutMs: 20 }))) as BufferFullError;
    expect(error).toBeInstanceOf(BufferFullError);
    expect(error.hint).toContain("cancelRequestBuffer()");
    client.cancelRequestBuffer();
    expect(channel.requests.tryReadFrame().isValid).toBe(false);
  });

  test("lets those be aborted that wait for it, which leaves no listener", async () => {
    using channel = new Channel();
    const { client } = channel;
    const controller = new AbortController();
    const { signal } = controller;
    const listeners = listenersOn(signal);
    const tooLarge = rejectionOf(client.request(new Uint8Array(100_000), { signal }));
    expect(await tooLarge).toMatchObject({ code: "FRAME_TOO_LARGE" });
    client.acquireRequestBuffer(50);
    const aborted = rejectionOf(client.request(bytesOf(1, 1), { signal }));
    const other = client.request(bytesOf(1, 2), { timeoutMs: WAIT_LIMIT_MS });
    controller.abort("enough");
    expect(await aborted).toBe("enough");
    client.cancelRequestBuffer();
    channel.answer();
    expect(numberOf(await other)).toBe(1);
    expect(listeners()).toBe(0);
  });
});

describe("close", () => {
  test("ends every request, sent or not, and sends none of those that wait", async () => {
    using channel = new Channel({ requests: TINY });
    const { client, name } = channel;
    const ask = (size: number) =>
      rejectionOf(client.request(new Uint8Array(size), { timeoutMs: WAIT_LIMIT_MS }));
    // The next one finds no room; behind it stand some that would.
    const requests = [...Array.from({ length: TINY_FRAMES - 1 }, () => ask(100)), ask(200), ask(1), ask(2)];
    await turn();
    client.close();
    for (const error of await Promise.all(requests)) {
      expect(error).toBeInstanceOf(ClosedError);
      expect(error).toMatchObject({ code: "CLOSED", buffer: name });
    }
    for (let i = 1; i < TINY_FRAMES; i++) channel.take().release();
    expect(channel.requests.isWriterConnected()).toBe(false);
  });

  test("ends those that wait for a commit, and the acquired request", async () => {
    using channel = new Channel();
    const { client, name } = channel;
    const { buffer } = client.acquireRequestBuffer(50);
    const requests = [1, 2].map((size) => rejectionOf(client.request(new Uint8Array(size))));
    client.close();
    for (const error of await Promise.all(requests)) {
      expect(error).toMatchObject({ name: "ClosedError", code: "CLOSED", buffer: name });
    }
    expect(buffer.length).toBe(0);
    for (const use of [() => client.commitRequest(), () => client.cancelRequestBuffer()]) {
      expect(thrownBy(use)).toMatchObject({ code: "CLOSED", buffer: name });
    }
  });
});

describe("a request of sendRequest", () => {
  /** So many sent requests make the client look which of them can still be answered. */
  const MANY = 1024;

  test("that its server has released unanswered is forgotten in time", () => {
    using channel = new Channel({ requests: TINY });
    const { client } = channel;
    for (let i = 0; i < 2 * MANY; i++) {
      client.sendRequest(bytesOf(1, 1));
      channel.take().release();
    }
    // A response that comes in spite of that is late.
    channel.respond(1);
    channel.respond(MANY);
    expect(received(client)).toEqual([]);
    client.sendRequest(bytesOf(1, 1));
    channel.answer();
    expect(received(client)).toEqual([2 * MANY + 1]);
  });

  test("that its server holds is not forgotten, however many follow", () => {
    using channel = new Channel({ requests: { metadataSize: 0, payloadSize: 256 * 1024 } });
    const { client } = channel;
    const held: Frame[] = [];
    for (let i = 1; i <= 3 * MANY; i++) {
      client.sendRequest(bytesOf(1, 1));
      const request = channel.take();
      // What is released before the first one that is held may be forgotten; nothing after it, since space goes back in order.
      if (i % 1000 === 0) held.push(request);
      else request.release();
    }
    for (const request of held.reverse()) channel.respond(request.sequence);
    expect(received(client)).toEqual([3000, 2000, 1000]);
    for (const request of held) request.release();
  });

  test("whose response waits to be received is not forgotten, however many follow", () => {
    using channel = new Channel({ requests: TINY, responses: { metadataSize: 0, payloadSize: 256 * 1024 } });
    const { client } = channel;
    const numbers = Array.from({ length: 5 * MANY }, () => {
      const sequence = client.sendRequest(bytesOf(1, 1));
      channel.answer();
      return sequence;
    });
    expect(received(client)).toEqual(numbers);
  });

  test("that was acquired counts as well", () => {
    using channel = new Channel({ requests: TINY });
    const { client } = channel;
    for (let i = 0; i < 2 * MANY; i++) {
      client.acquireRequestBuffer(1);
      client.commitRequest();
      channel.take().release();
    }
    channel.respond(1);
    expect(received(client)).toEqual([]);
  });
});
