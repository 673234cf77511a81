// The loop of a client: sends the requests of a source and receives their responses.

import type { FrameOutput } from "../../cli/frame-output.ts";
import type { FrameSource } from "../../cli/frame-source.ts";
import { Latencies } from "../../cli/latencies.ts";
import type { Session } from "../../cli/session.ts";
import { LoopClock, Pace, Stopwatch } from "../../cli/timing.ts";
import {
  type DuplexResponse,
  type IDuplexClient,
  PeerTimeoutError,
  STAMP_SIZE,
  stampFrame,
  WriterDeadError,
} from "../../core/index.ts";
import { type Transform, transformFor } from "../../frames/transforms.ts";
import { raceAbort } from "../../runtime/abort.ts";
import { ResponseOutput } from "./response-output.ts";

/** What a response should be: the bytes of its request, or the bytes after a transform. */
export const EXPECTATIONS = ["none", "echo", "reverse", "xor"] as const;

/** How often to look whether the server is still there, in milliseconds. */
const CHECK_MS = 250;

interface RequestLoopOptions {
  /** The most requests in flight. */
  readonly inFlight: number;
  /** Requests per second; undefined: as fast as possible. */
  readonly rate: number | undefined;
  readonly verify: (typeof EXPECTATIONS)[number];
  readonly xorKey: number;
  /** Whether to put a stamp before each request. */
  readonly stamp: boolean;
  readonly timeoutMs: number;
  /** Whether to continue with the next server when one leaves. */
  readonly follow: boolean;
  /** How long to wait for that one. */
  readonly connectTimeoutMs: number;
}

/** Sends requests and receives their responses, which are written to the output in the order of the requests. */
export class RequestLoop {
  /** From the first request to the last response. */
  readonly stopwatch = new Stopwatch();
  readonly latencies = new Latencies();
  sent = 0;
  received = 0;
  /** Of these, those that were read in the request buffer. */
  shared = 0;
  timeouts = 0;
  /** Of these, those that the server was told to cancel. */
  cancelled = 0;
  /** Requests in flight whose server has gone. */
  lost = 0;
  bytesSent = 0;
  bytesReceived = 0;
  wrong = 0;
  /** Number of the first request, from 0, whose response is wrong. */
  firstWrong: number | undefined;
  readonly #client: IDuplexClient;
  readonly #source: FrameSource;
  readonly #output: ResponseOutput | undefined;
  readonly #session: Session;
  readonly #options: RequestLoopOptions;
  readonly #pace: Pace | undefined;
  readonly #isAsExpected: ((request: Uint8Array, response: Uint8Array) => boolean) | undefined;
  readonly #clock: LoopClock;
  #inFlight = 0;
  readonly #failed = new AbortController();
  /** Aborted when the loop must end early, with the reason: it has failed, or the session ends. */
  readonly #signal: AbortSignal;
  /** Resolves when a request is complete, or its response is written. */
  #progress: PromiseWithResolvers<void> | undefined;

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
    this.#output =
      output &&
      new ResponseOutput(output, {
        progressed: () => this.#progress?.resolve(),
        failed: (error) => this.#failed.abort(error),
      });
    this.#options = options;
    this.#session = session;
    this.#signal = AbortSignal.any([session.signal, this.#failed.signal]);
    this.#pace =
      options.rate === undefined ? undefined : new Pace({ rate: options.rate, batchSize: 1, delayMs: 0 });
    this.#isAsExpected = options.verify === "none" ? undefined : comparison(options.verify, options.xorKey);
    this.#clock = new LoopClock(this.#signal, report);
  }

  /** Sends up to `limit` requests, or all of them if it is 0, and waits for their responses. */
  async run(limit: number): Promise<void> {
    await this.#sendAll(limit);
    await this.#until(() => this.#inFlight === 0);
    await this.deliver();
  }

  /** Waits until the received responses are written, for as long as the session allows. */
  async deliver(): Promise<void> {
    if (this.#output !== undefined) await this.#session.finish(this.#output.finish());
  }

  async #sendAll(limit: number): Promise<void> {
    while (limit === 0 || this.sent < limit) {
      if (this.#isFull || this.#signal.aborted) await this.#until(() => !this.#isFull);
      const request = this.#source.next(this.sent, 1)?.bytes;
      if (request === undefined) {
        if (await this.#whileServed(this.#source.more())) continue;
        break;
      }
      if (this.#pace?.isDue(this.sent) === false) {
        await this.#whileServed(this.#pace.wait(this.sent, this.#signal));
      }
      this.#send(request);
      if (this.#clock.isDue(request.length)) await this.#clock.turn();
    }
  }

  /** Waits for the next request to be there and due. Rejects when the server or the reader of the output has gone meanwhile. */
  async #whileServed<T>(wait: Promise<T>): Promise<T> {
    const checks = setInterval(() => this.#checkBothEnds(), CHECK_MS);
    try {
      return await raceAbort(wait, this.#signal);
    } finally {
      clearInterval(checks);
    }
  }

  #checkBothEnds(): void {
    try {
      this.#output?.checkReader();
      // With requests in flight the client finds out by itself, once it has taken the last responses.
      if (this.#inFlight === 0) this.#client.checkServer();
    } catch (error) {
      this.#failed.abort(error);
    }
  }

  /** Whether the next request must wait. With an output, a request is in flight until its response is written. */
  get #isFull(): boolean {
    const open = this.#output === undefined ? this.#inFlight : this.sent - this.#output.count;
    return open >= this.#options.inFlight;
  }

  /** Waits for a condition that requests and responses change. */
  async #until(condition: () => boolean): Promise<void> {
    this.#signal.throwIfAborted();
    while (!condition()) {
      this.#progress = Promise.withResolvers();
      await raceAbort(this.#progress.promise, this.#signal);
      this.#progress = undefined;
    }
  }

  #send(bytes: Uint8Array): void {
    const { follow, inFlight, stamp, timeoutMs } = this.#options;
    const number = this.sent++;
    // The source lends its bytes until the next request is taken.
    const request = stamp ? stamped(bytes, number) : inFlight === 1 ? bytes : bytes.slice();
    const sentAt = this.#pace?.dueAt(number) ?? performance.now();
    this.stopwatch.start();
    this.bytesSent += request.length;
    this.#inFlight++;
    const asked = follow ? this.#askAnyServer(request) : this.#client.request(request, { timeoutMs });
    asked
      .then(
        (response) => this.#receive(number, request, response, sentAt),
        (error) => this.#noteLoss(number, error),
      )
      .catch((error) => this.#failed.abort(error))
      .finally(() => {
        this.#inFlight--;
        this.#progress?.resolve();
      });
  }

  /** The response to a request, which waits on for a server if it finds none in its time. */
  async #askAnyServer(request: Uint8Array): Promise<DuplexResponse> {
    const { timeoutMs, connectTimeoutMs } = this.#options;
    const start = performance.now();
    for (;;) {
      try {
        return await this.#client.request(request, { timeoutMs });
      } catch (error) {
        const isPatient = performance.now() - start < connectTimeoutMs;
        if (!(isPatient && error instanceof PeerTimeoutError)) throw error;
      }
    }
  }

  /** Counts a request that is lost with its server, with `follow`. Throws any other error. */
  #noteLoss(number: number, error: unknown): void {
    if (!(this.#options.follow && error instanceof WriterDeadError)) throw error;
    this.lost++;
    this.#session.log?.warn(`Request ${number} was lost: its server has ${error.reason}.`);
    this.#output?.add(number, undefined);
  }

  #receive(number: number, sent: Uint8Array, response: DuplexResponse, sentAt: number): void {
    using _ = response;
    if (!response.isValid) {
      this.timeouts++;
      if (this.#client.honoursCancellation) this.cancelled++;
      this.#session.log?.warn(`Request ${number} got no response within ${this.#options.timeoutMs} ms.`);
      this.#output?.add(number, undefined);
      return;
    }
    this.stopwatch.mark();
    this.latencies.add(performance.now() - sentAt);
    this.received++;
    if (response.isShared) this.shared++;
    this.bytesReceived += response.size;
    const request = this.#options.stamp ? sent.subarray(STAMP_SIZE) : sent;
    if (this.#isAsExpected?.(request, response.data) === false) {
      this.wrong++;
      this.firstWrong = Math.min(number, this.firstWrong ?? number);
      this.#session.log?.warn(`The response to request ${number} failed --verify ${this.#options.verify}.`);
    }
    this.#output?.add(number, response.toArray());
  }
}

/** A copy of the bytes after a stamp. */
function stamped(bytes: Uint8Array, number: number): Uint8Array {
  const request = new Uint8Array(STAMP_SIZE + bytes.length);
  stampFrame(request, { number: BigInt(number) });
  request.set(bytes, STAMP_SIZE);
  return request;
}

function comparison(transform: Exclude<RequestLoopOptions["verify"], "none">, xorKey: number) {
  const change = transformFor(transform === "echo" ? "none" : (transform satisfies Transform), xorKey);
  return (request: Uint8Array, response: Uint8Array): boolean => {
    const expected = request.slice();
    change(expected);
    return Buffer.compare(expected, response) === 0;
  };
}
