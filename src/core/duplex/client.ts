// The asking side of a duplex channel.

import { TurnKeeper } from "../../runtime/turn.ts";
import { buffersOf, type ChannelBuffers } from "../buffer/names.ts";
import { type BufferConfig, checkTimeout } from "../config.ts";
import { BufferFullError, ClosedError, CorruptBufferError } from "../errors.ts";
import { Frame } from "../frame.ts";
import { Reader } from "../reader.ts";
import { Writer } from "../writer.ts";
import { Pending, PendingRequests } from "./pending.ts";
import type { ClientOptions, DuplexResponse, IDuplexClient, RequestOptions } from "./types.ts";

/** How long a wait for responses goes on before the server is looked at. */
const SLICE_MS = 250;

/** How long a client waits at least for the server to see that the client before it was killed. */
const HANDOVER_MS = 500;

/** The pause before another look whether it has. */
const RETRY_MS = 5;

/** Timers cannot be set for longer, in milliseconds. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Promises on the way from a response to the next request, at the most, that are waited for before the next look. */
const HOPS = 8;

/** A client, connected from {@link open} or {@link connect} to {@link close}. */
export class DuplexClient implements IDuplexClient {
  readonly #channel: string;
  readonly #requests: Writer;
  readonly #responses: Reader;
  /** Requests of {@link request} that are sent. A response that nobody waits for is dropped. */
  readonly #pending = new PendingRequests();
  /** Requests that wait for room, in order, with their bytes. */
  readonly #waiting = new Map<Pending, Uint8Array>();
  /** Requests whose responses {@link receiveResponse} returns. */
  readonly #sent = new Set<number>();
  /** Responses for {@link receiveResponse} that came while others were awaited. */
  readonly #unclaimed: Frame[] = [];
  readonly #turns = new TurnKeeper();
  #isReceiving = false;
  #isSending = false;
  /** A request is acquired: nothing else can be sent until it is committed. */
  #isFilling = false;
  /** Requests whose deadlines are not known yet. */
  readonly #undated: Pending[] = [];
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
    const deadline = performance.now() + Math.max(HANDOVER_MS, connectTimeoutMs);
    for (let timeoutMs = connectTimeoutMs; ; timeoutMs = Math.max(0, deadline - performance.now())) {
      const requests = new Writer(buffers.requests, { connectTimeoutMs: timeoutMs });
      try {
        return new DuplexClient(channel, requests, buffers, config);
      } catch (error) {
        if (!isHandover(error) || performance.now() >= deadline) throw error;
      }
      Bun.sleepSync(RETRY_MS);
    }
  }

  /** Connects without blocking the event loop. */
  static async connect(
    channel: string,
    { config, connectTimeoutMs = 0, signal }: ClientOptions & { signal?: AbortSignal | undefined } = {},
  ): Promise<DuplexClient> {
    const buffers = buffersOf(channel);
    const deadline = performance.now() + Math.max(HANDOVER_MS, connectTimeoutMs);
    for (let timeoutMs = connectTimeoutMs; ; timeoutMs = Math.max(0, deadline - performance.now())) {
      const requests = await Writer.connect(buffers.requests, { connectTimeoutMs: timeoutMs, signal });
      try {
        return new DuplexClient(channel, requests, buffers, config);
      } catch (error) {
        if (!isHandover(error) || performance.now() >= deadline) throw error;
      }
      await Bun.sleep(RETRY_MS);
    }
  }

  get maxRequestSize(): number {
    return this.#requests.maxFrameSize;
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
    this.#isFilling = true;
    return { sequence, buffer: data };
  }

  commitRequest(): void {
    this.#guard();
    const sequence = this.#requests.nextSequence;
    this.#requests.commitFrame();
    this.#isFilling = false;
    this.#sent.add(sequence);
    this.#startSending();
  }

  receiveResponse(timeoutMs = 5000): DuplexResponse {
    this.#guard();
    checkTimeout("timeoutMs", timeoutMs);
    const start = performance.now();
    for (let now = start; ; now = performance.now()) {
      const sliceMs = Math.max(0, Math.min(SLICE_MS, start + timeoutMs - now));
      let response = this.#unclaimed.shift() ?? this.#responses.readFrame(sliceMs);
      if (!response.isValid) response = this.#lookAtServer();
      if (response.isValid) {
        if (this.#sent.delete(response.sequence)) return response;
        this.#settle(response);
      } else {
        const isSignal = performance.now() < now + sliceMs;
        if (isSignal || now + sliceMs >= start + timeoutMs) return response;
      }
    }
  }

  /** Throws if the server has gone; but first returns what it has written since the last look. */
  #lookAtServer(): Frame {
    try {
      this.#requests.checkReader();
      return Frame.invalid;
    } catch (error) {
      const response = this.#responses.tryReadFrame();
      if (response.isValid) return response;
      throw error;
    }
  }

  // ---- requests and their responses --------------------------------------------------------------------------------

  request(data: Uint8Array, options?: RequestOptions): Promise<DuplexResponse> {
    const pending = new Pending(options);
    try {
      this.#begin(pending, data);
    } catch (error) {
      pending.reject(error);
    }
    return pending.promise;
  }

  #begin(pending: Pending, data: Uint8Array): void {
    this.#guard();
    checkTimeout("timeoutMs", pending.timeoutMs);
    pending.signal?.throwIfAborted();
    const isSent = this.#waiting.size === 0 && this.#send(pending, data);
    if (!isSent) this.#waiting.set(pending, data);
    if (pending.signal !== undefined) this.#heed(pending.signal, pending);
    // Once for all that are made in the same turn, and after the last of them: the clock takes longer than a list.
    if (this.#undated.push(pending) === 1) queueMicrotask(this.#attend);
  }

  /** Sees to the requests that were made since the last time. */
  readonly #attend = (): void => {
    let first = Number.POSITIVE_INFINITY;
    const now = performance.now();
    for (const pending of this.#undated) {
      pending.deadline = now + pending.timeoutMs;
      first = Math.min(first, pending.deadline);
    }
    this.#undated.length = 0;
    if (!this.#isAwaited) return;
    if (first < this.#timerDeadline) this.#setTimer(first);
    this.#startSending();
    // Also while they wait for room: the server may wait for room as well.
    if (!this.#isReceiving) void this.#receive();
  };

  #heed(signal: AbortSignal, pending: Pending): void {
    pending.onAbort = () => this.#end(pending).reject(signal.reason);
    signal.addEventListener("abort", pending.onAbort, { once: true });
  }

  /** Sends a request if there is room for it. */
  #send(pending: Pending, data: Uint8Array): boolean {
    const sequence = this.#requests.nextSequence;
    if (!this.#requests.tryWriteFrame(data)) return false;
    pending.sequence = sequence;
    this.#pending.add(pending);
    return true;
  }

  #startSending(): void {
    if (this.#isSending || this.#waiting.size === 0) return;
    this.#isSending = true;
    void this.#sendWaiting();
  }

  /** Sends the requests that wait for room, until none is left or a request is acquired. */
  async #sendWaiting(): Promise<void> {
    try {
      while (this.#waiting.size > 0 && !this.#isFilling) {
        if (!this.#sendNext()) await this.#requests.waitForRoom(undefined);
      }
    } catch (error) {
      this.#endAll(error);
    } finally {
      this.#isSending = false;
    }
  }

  /** Sends the request that has waited longest, or rejects it if it can never be sent; false: there is no room. */
  #sendNext(): boolean {
    for (const [pending, data] of this.#waiting) {
      try {
        if (!this.#send(pending, data)) return false;
        this.#waiting.delete(pending);
      } catch (error) {
        this.#end(pending).reject(error);
      }
      return true;
    }
    return true;
  }

  /** Takes responses as long as somebody waits for one. */
  async #receive(): Promise<void> {
    this.#isReceiving = true;
    try {
      while (this.#isAwaited) {
        const response =
          this.#responses.frameAtHand(undefined) ?? (await this.#responses.readFrameAsync(SLICE_MS));
        this.#settleAll(response.isValid ? response : this.#lookAtServer());
        // Those who have waited go on first, and ask again.
        for (let i = 0; i < HOPS && this.#undated.length === 0; i++) await undefined;
        // What they do may take any time, so the clock is looked at after each run.
        if (this.#turns.isDue(Number.POSITIVE_INFINITY)) await this.#turns.turn();
      }
    } catch (error) {
      this.#endAll(error);
    } finally {
      this.#isReceiving = false;
    }
  }

  get #isAwaited(): boolean {
    return this.#pending.size > 0 || this.#waiting.size > 0;
  }

  /** Hands on a response and all others that are there. */
  #settleAll(first: Frame): void {
    for (let response = first; response.isValid; response = this.#responses.tryReadFrame()) {
      this.#settle(response);
    }
  }

  /** Hands a response to who waits for it; one that nobody waits for is late, or not ours, and dropped. */
  #settle(response: Frame): void {
    const pending = this.#pending.find(response.sequence);
    if (pending !== undefined) this.#end(pending).resolve(response);
    else if (this.#sent.has(response.sequence)) this.#unclaimed.push(response);
    else response.release();
  }

  /** Takes a request off the lists. */
  #end(pending: Pending): Pending {
    if (pending.sequence === 0) this.#waiting.delete(pending);
    else this.#pending.remove(pending);
    if (pending.onAbort !== undefined) pending.signal?.removeEventListener("abort", pending.onAbort);
    return pending;
  }

  #endAll(error: unknown): void {
    for (const pending of this.#awaited()) this.#end(pending).reject(error);
  }

  #awaited(): Pending[] {
    return [...this.#pending.all(), ...this.#waiting.keys()];
  }

  // ---- time --------------------------------------------------------------------------------------------------------

  #setTimer(deadline: number): void {
    clearTimeout(this.#timer);
    this.#timerDeadline = deadline;
    if (deadline === Number.POSITIVE_INFINITY) return;
    const restMs = Math.max(0, Math.ceil(deadline - performance.now()));
    this.#timer = setTimeout(() => this.#expire(), Math.min(restMs, MAX_TIMER_MS));
    // Only what is awaited keeps the process alive.
    this.#timer.unref();
  }

  /** Ends the requests whose time is up, and sets the timer for the next one. */
  #expire(): void {
    const now = performance.now();
    let next = Number.POSITIVE_INFINITY;
    for (const pending of this.#awaited()) {
      if (pending.deadline > now) next = Math.min(next, pending.deadline);
      else if (pending.sequence === 0) this.#end(pending).reject(this.#noRoom(pending.timeoutMs));
      else this.#end(pending).resolve(Frame.invalid);
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
    const message = `The client of channel "${this.#channel}" was closed.`;
    this.#endAll(new ClosedError(message, { buffer: this.#channel }));
    // In this order: the next client connects as soon as the requests have no writer, and makes its own responses then.
    this.#responses.close();
    this.#requests.close();
  }

  /** As {@link close}. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Whether this is what keeps a client from making its response buffer as long as the server writes to that of one that was
 * killed. It hangs up when the requests have no writer.
 */
function isHandover(error: unknown): boolean {
  return error instanceof CorruptBufferError;
}
