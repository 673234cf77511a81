// The asking side of a duplex channel.

import { type BufferConfig, checkTimeout, maxFrameSize } from "../config.ts";
import { BufferFullError, ClosedError } from "../errors.ts";
import { Frame } from "../frame.ts";
import { buffersOf, type ChannelBuffers } from "../names.ts";
import { Reader } from "../reader.ts";
import { Writer } from "../writer.ts";
import type { ClientOptions, DuplexResponse, IDuplexClient, RequestOptions } from "./types.ts";

/** How long a wait for responses goes on before the server is looked at. */
const SLICE_MS = 250;

/** A request whose response somebody awaits. */
interface Pending {
  readonly resolve: (response: DuplexResponse) => void;
  readonly reject: (reason: unknown) => void;
  /** By `performance.now()`. */
  readonly deadline: number;
  readonly signal: AbortSignal | undefined;
  readonly abort: (() => void) | undefined;
}

/** A client, connected from {@link open} or {@link connect} to {@link close}. */
export class DuplexClient implements IDuplexClient {
  readonly #channel: string;
  readonly #requests: Writer;
  readonly #responses: Reader;
  /** Requests of {@link request} by sequence number. A response that nobody waits for is dropped. */
  readonly #pending = new Map<number, Pending>();
  /** Requests whose responses {@link receiveResponse} returns. */
  readonly #sent = new Set<number>();
  /** Responses for {@link receiveResponse} that came while others were awaited. */
  readonly #unclaimed: Frame[] = [];
  #isReceiving = false;
  /** The request that waits for room, after which the next one goes. */
  #lastWait: Promise<unknown> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #timerDeadline = Number.POSITIVE_INFINITY;
  #closed = false;

  private constructor(
    channel: string,
    requests: Writer,
    { responses }: ChannelBuffers,
    config?: BufferConfig,
  ) {
    try {
      this.#responses = new Reader(responses, config, { anySequence: true });
    } catch (error) {
      requests.close();
      throw error;
    }
    this.#channel = channel;
    this.#requests = requests;
  }

  /** Connects, blocking the thread for up to `connectTimeoutMs`. */
  static open(channel: string, { config, connectTimeoutMs = 0 }: ClientOptions = {}): DuplexClient {
    const buffers = buffersOf(channel);
    return new DuplexClient(channel, new Writer(buffers.requests, { connectTimeoutMs }), buffers, config);
  }

  /** Connects without blocking the event loop. */
  static async connect(
    channel: string,
    { config, ...options }: ClientOptions & { signal?: AbortSignal | undefined } = {},
  ): Promise<DuplexClient> {
    const buffers = buffersOf(channel);
    return new DuplexClient(channel, await Writer.connect(buffers.requests, options), buffers, config);
  }

  get maxRequestSize(): number {
    return maxFrameSize(this.#requests.config.payloadSize);
  }

  get isServerConnected(): boolean {
    this.#guard();
    return this.#requests.isReaderConnected();
  }

  setMetadata(data: Uint8Array): void {
    this.#guard();
    this.#requests.setMetadata(data);
  }

  // ---- sending and receiving apart ---------------------------------------------------------------------------------

  sendRequest(data: Uint8Array): number {
    this.#guard();
    const sequence = this.#requests.nextSequence;
    this.#requests.writeFrame(data);
    this.#sent.add(sequence);
    return sequence;
  }

  acquireRequestBuffer(size: number): { sequence: number; buffer: Uint8Array } {
    this.#guard();
    const { sequence, data } = this.#requests.acquireFrame(size);
    return { sequence, buffer: data };
  }

  commitRequest(): void {
    this.#guard();
    const sequence = this.#requests.nextSequence;
    this.#requests.commitFrame();
    this.#sent.add(sequence);
  }

  receiveResponse(timeoutMs = 5000): DuplexResponse {
    this.#guard();
    checkTimeout("timeoutMs", timeoutMs);
    const start = performance.now();
    for (let now = start; ; now = performance.now()) {
      const sliceMs = Math.max(0, Math.min(SLICE_MS, start + timeoutMs - now));
      const response = this.#unclaimed.shift() ?? this.#responses.readFrame(sliceMs);
      if (response.isValid) {
        if (this.#sent.delete(response.sequence)) return response;
        this.#settle(response);
      } else {
        this.#requests.checkReader();
        const isSignal = performance.now() < now + sliceMs;
        if (isSignal || now + sliceMs >= start + timeoutMs) return response;
      }
    }
  }

  // ---- requests and their responses --------------------------------------------------------------------------------

  request(data: Uint8Array, { timeoutMs = 5000, signal }: RequestOptions = {}): Promise<DuplexResponse> {
    try {
      this.#guard();
      checkTimeout("timeoutMs", timeoutMs);
      signal?.throwIfAborted();
      const deadline = performance.now() + timeoutMs;
      const sequence = this.#requests.nextSequence;
      if (this.#lastWait === undefined && this.#requests.tryWriteFrame(data)) {
        return this.#expect(sequence, deadline, signal);
      }
      return this.#requestLater(data, deadline, timeoutMs, signal);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #requestLater(
    data: Uint8Array,
    deadline: number,
    timeoutMs: number,
    signal: AbortSignal | undefined,
  ): Promise<DuplexResponse> {
    const previous = this.#lastWait;
    const { promise: written, resolve: noteWritten } = Promise.withResolvers<void>();
    this.#lastWait = written;
    // Whoever waits for room takes responses meanwhile, or the server may wait for room as well.
    this.#startReceiving();
    const write = async (): Promise<{ response: Promise<DuplexResponse> }> => {
      try {
        await previous;
        for (;;) {
          signal?.throwIfAborted();
          this.#guard();
          const sequence = this.#requests.nextSequence;
          if (this.#requests.tryWriteFrame(data)) {
            return { response: this.#expect(sequence, deadline, signal) };
          }
          if (performance.now() >= deadline) throw this.#noRoom(timeoutMs);
          await this.#requests.waitForRoom(signal);
        }
      } finally {
        if (this.#lastWait === written) this.#lastWait = undefined;
        noteWritten();
      }
    };
    return write().then(({ response }) => response);
  }

  /** Has the response of a request that was just written awaited. */
  #expect(sequence: number, deadline: number, signal: AbortSignal | undefined): Promise<DuplexResponse> {
    return new Promise((resolve, reject) => {
      const abort = signal && (() => this.#giveUp(sequence)?.reject(signal.reason));
      if (abort) signal.addEventListener("abort", abort, { once: true });
      this.#pending.set(sequence, { resolve, reject, deadline, signal, abort });
      if (deadline < this.#timerDeadline) this.#setTimer(deadline);
      this.#startReceiving();
    });
  }

  #startReceiving(): void {
    if (this.#isReceiving) return;
    this.#isReceiving = true;
    // What is sent in the same turn goes out before the first look.
    queueMicrotask(() => void this.#receive());
  }

  /** Takes responses as long as somebody waits for one. */
  async #receive(): Promise<void> {
    try {
      while (this.#isAwaited) {
        const response = await this.#responses.readFrameAsync(SLICE_MS);
        if (response.isValid) {
          this.#settleAll(response);
          // Those who have waited go on first.
          await Promise.resolve();
        } else {
          this.#requests.checkReader();
        }
      }
    } catch (error) {
      for (const sequence of [...this.#pending.keys()]) this.#giveUp(sequence)?.reject(error);
    } finally {
      this.#isReceiving = false;
    }
  }

  get #isAwaited(): boolean {
    return this.#pending.size > 0 || this.#lastWait !== undefined;
  }

  /** Hands on a response and all others that are there. */
  #settleAll(first: Frame): void {
    for (let response = first; response.isValid; response = this.#responses.tryReadFrame()) {
      this.#settle(response);
    }
  }

  /** Hands a response to who waits for it; one that nobody waits for is late, or not ours, and dropped. */
  #settle(response: Frame): void {
    const pending = this.#giveUp(response.sequence);
    if (pending !== undefined) pending.resolve(response);
    else if (this.#sent.has(response.sequence)) this.#unclaimed.push(response);
    else response.release();
  }

  /** Takes a request off the list. */
  #giveUp(sequence: number): Pending | undefined {
    const pending = this.#pending.get(sequence);
    if (pending === undefined) return undefined;
    this.#pending.delete(sequence);
    if (pending.abort) pending.signal?.removeEventListener("abort", pending.abort);
    return pending;
  }

  // ---- time --------------------------------------------------------------------------------------------------------

  #setTimer(deadline: number): void {
    clearTimeout(this.#timer);
    this.#timerDeadline = deadline;
    if (deadline === Number.POSITIVE_INFINITY) return;
    this.#timer = setTimeout(() => this.#expire(), Math.max(0, Math.ceil(deadline - performance.now())));
    // Only what is awaited keeps the process alive.
    this.#timer.unref();
  }

  /** Ends the requests whose time is up, and sets the timer for the next one. */
  #expire(): void {
    const now = performance.now();
    let next = Number.POSITIVE_INFINITY;
    for (const [sequence, { deadline }] of this.#pending) {
      if (deadline <= now) this.#giveUp(sequence)?.resolve(Frame.invalid);
      else next = Math.min(next, deadline);
    }
    this.#setTimer(next);
  }

  #noRoom(timeoutMs: number): BufferFullError {
    return new BufferFullError(
      "timeout",
      `Channel "${this.#channel}" had no room for the request within ${timeoutMs} ms.`,
      {
        buffer: this.#requests.name,
        hint: "Its server is slower than its client: wait longer, or ask less at once.",
      },
    );
  }

  // ---- the end -----------------------------------------------------------------------------------------------------

  #guard(): void {
    if (!this.#closed) return;
    throw new ClosedError(`The client of channel "${this.#channel}" is closed.`, { buffer: this.#channel });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    const closed = new ClosedError(`The client of channel "${this.#channel}" was closed.`, {
      buffer: this.#channel,
    });
    for (const sequence of [...this.#pending.keys()]) this.#giveUp(sequence)?.reject(closed);
    this.#requests.close();
    this.#responses.close();
  }

  /** As {@link close}. */
  [Symbol.dispose](): void {
    this.close();
  }
}
