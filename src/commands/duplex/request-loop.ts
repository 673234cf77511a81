// The loop of a client: sends the requests of a source and receives their responses.

import type { FrameOutput } from "../../cli/frame-output.ts";
import type { FrameSource } from "../../cli/frame-source.ts";
import type { Session } from "../../cli/session.ts";
import { LoopClock, Pace, Stopwatch } from "../../cli/timing.ts";
import type { DuplexResponse, IDuplexClient } from "../../core/index.ts";
import { type Transform, transformFor } from "../../frames/transforms.ts";
import { raceAbort } from "../../runtime/abort.ts";
import { Latencies } from "./latency.ts";

/** What a response should be: the bytes of its request, or the bytes after a transform. */
export const EXPECTATIONS = ["none", "echo", "reverse", "xor"] as const;

interface RequestLoopOptions {
  /** The most requests in flight. */
  readonly inFlight: number;
  /** Requests per second; undefined: as fast as possible. */
  readonly rate: number | undefined;
  readonly verify: (typeof EXPECTATIONS)[number];
  readonly xorKey: number;
  readonly timeoutMs: number;
}

/** Sends requests and receives their responses, which are written to the output in the order of the requests. */
export class RequestLoop {
  /** From the first request to the last response. */
  readonly stopwatch = new Stopwatch();
  readonly latencies = new Latencies();
  sent = 0;
  received = 0;
  timeouts = 0;
  bytesSent = 0;
  bytesReceived = 0;
  wrong = 0;
  /** Number of the first request, from 0, whose response is wrong. */
  firstWrong: number | undefined;
  readonly #client: IDuplexClient;
  readonly #source: FrameSource;
  readonly #output: FrameOutput | undefined;
  readonly #session: Session;
  readonly #options: RequestLoopOptions;
  readonly #pace: Pace | undefined;
  readonly #isAsExpected: ((request: Uint8Array, response: Uint8Array) => boolean) | undefined;
  readonly #clock: LoopClock;
  #inFlight = 0;
  #failure: { readonly error: unknown } | undefined;
  /** Resolves when a request is complete. */
  #done: PromiseWithResolvers<void> | undefined;
  /** Responses that wait for earlier ones before they are written; undefined: there was no response. */
  readonly #outbox = new Map<number, Uint8Array | undefined>();
  #emitted = 0;

  /** @param report is called every few milliseconds. */
  constructor(
    client: IDuplexClient,
    source: FrameSource,
    output: FrameOutput | undefined,
    options: RequestLoopOptions,
    session: Session,
    report: () => void,
  ) {
    this.#client = client;
    this.#source = source;
    this.#output = output;
    this.#options = options;
    this.#session = session;
    this.#pace =
      options.rate === undefined ? undefined : new Pace({ rate: options.rate, batchSize: 1, delayMs: 0 });
    this.#isAsExpected = options.verify === "none" ? undefined : comparison(options.verify, options.xorKey);
    this.#clock = new LoopClock(session.signal, report);
  }

  /** Sends up to `limit` requests, or all of them if it is 0, and waits for their responses. */
  async run(limit: number): Promise<void> {
    const { signal } = this.#session;
    while (limit === 0 || this.sent < limit) {
      while (this.#isFull) await this.#waitForResponse();
      const request = this.#source.next(this.sent, 1)?.bytes;
      if (request === undefined) {
        if (await this.#source.more()) continue;
        break;
      }
      if (this.#pace?.isDue(this.sent) === false) await this.#pace.wait(this.sent, signal);
      this.#send(request);
      if (this.#clock.isDue(request.length)) await this.#clock.turn();
    }
    while (this.#inFlight > 0 || this.#outbox.size > 0) await this.#waitForResponse();
    this.#throwFailure();
    if (this.#output !== undefined) await this.#session.finish(this.#output.flush());
  }

  /** Whether the next request must wait. With an output, a request is in flight until its response is written. */
  get #isFull(): boolean {
    const open = this.#output === undefined ? this.#inFlight : this.sent - this.#emitted;
    return open >= this.#options.inFlight || this.#failure !== undefined;
  }

  #send(bytes: Uint8Array): void {
    const { inFlight, timeoutMs } = this.#options;
    const number = this.sent++;
    // The source lends its bytes until the next request is taken.
    const request = inFlight === 1 ? bytes : bytes.slice();
    const sentAt = this.#pace?.dueAt(number) ?? performance.now();
    this.stopwatch.start();
    this.bytesSent += request.length;
    this.#inFlight++;
    this.#client
      .request(request, { timeoutMs })
      .then((response) => this.#receive(number, request, response, sentAt))
      .catch((error) => {
        this.#failure ??= { error };
      })
      .finally(() => {
        this.#inFlight--;
        this.#done?.resolve();
      });
  }

  #receive(number: number, request: Uint8Array, response: DuplexResponse, sentAt: number): void {
    using _ = response;
    if (!response.isValid) {
      this.timeouts++;
      this.#session.log?.warn(`Request ${number} got no response within ${this.#options.timeoutMs} ms.`);
      if (this.#output !== undefined) this.#outbox.set(number, undefined);
      return;
    }
    this.stopwatch.mark();
    this.latencies.add(performance.now() - sentAt);
    this.received++;
    this.bytesReceived += response.size;
    if (this.#isAsExpected?.(request, response.data) === false) {
      this.wrong++;
      this.firstWrong = Math.min(number, this.firstWrong ?? number);
      this.#session.log?.warn(`The response to request ${number} failed --verify ${this.#options.verify}.`);
    }
    if (this.#output !== undefined) this.#outbox.set(number, response.toArray());
  }

  /** Waits until a request is complete, and writes the responses that are next in order. */
  async #waitForResponse(): Promise<void> {
    this.#throwFailure();
    if (!this.#outbox.has(this.#emitted)) {
      this.#done = Promise.withResolvers();
      await raceAbort(this.#done.promise, this.#session.signal);
      this.#done = undefined;
    }
    for (; this.#outbox.has(this.#emitted); this.#emitted++) {
      const response = this.#outbox.get(this.#emitted);
      this.#outbox.delete(this.#emitted);
      const output = this.#output;
      if (response !== undefined && output?.append(response) === false) {
        await this.#session.finish(output.write(response));
      }
    }
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}

function comparison(transform: Exclude<RequestLoopOptions["verify"], "none">, xorKey: number) {
  const change = transformFor(transform === "echo" ? "none" : (transform satisfies Transform), xorKey);
  return (request: Uint8Array, response: Uint8Array): boolean => {
    const expected = request.slice();
    change(expected);
    return Buffer.compare(expected, response) === 0;
  };
}
