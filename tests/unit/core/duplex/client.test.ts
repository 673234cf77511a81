// A client: its connection, and responses that nobody asked for.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  type DuplexResponse,
  type Frame,
  ProcessingMode,
  Reader,
  Writer,
} from "../../../../src/core/index.ts";
import { inspectBuffer } from "../../../../src/core/inspection.ts";
import { bytesOf, rejectionOf, thrownBy, uniqueName, WAIT_LIMIT_MS } from "../../../support/buffers.ts";
import {
  answerTo,
  echo,
  factory,
  received,
  receivedBytes,
  SMALL,
  serve,
  TINY,
  turn,
  turns,
} from "./served.ts";

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

  test("that finds a response buffer of another one leaves no trace in the request buffer, and may wait for its end", async () => {
    using served = serve(echo);
    const occupant = new Reader(`${served.channel}_response`, SMALL);
    const requests = inspectBuffer(`${served.channel}_request`);
    const before = [requests?.snapshot().oieb, requests?.semaphores()];
    expect(thrownBy(() => served.connect())).toMatchObject({
      code: "WRITER_ALREADY_CONNECTED",
      message: expect.stringContaining(`Channel "${served.channel}" has a client already`),
    });
    expect([requests?.snapshot().oieb, requests?.semaphores()]).toEqual(before);
    const waiting = factory.connectClient(served.channel, { config: SMALL, connectTimeoutMs: WAIT_LIMIT_MS });
    await turns(5);
    occupant.close();
    (await waiting).close();
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
