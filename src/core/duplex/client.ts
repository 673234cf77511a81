// The asking side of a duplex channel.

import { Code } from "../../native/codes.ts";
import { waitsEndedBySignals } from "../../native/signals.ts";
import { takeAllSteps } from "../../runtime/steps.ts";
import { TurnKeeper } from "../../runtime/turn.ts";
import type { Cancellations } from "../buffer/cancellations.ts";
import { checkTimeout, FRAME_HEADER_SIZE } from "../config.ts";
import { BufferFullError, ClosedError } from "../errors.ts";
import { Frame } from "../frame.ts";
import type { Reader } from "../reader.ts";
import type { Writer } from "../writer.ts";
import { sizeOf } from "../writer-errors.ts";
import { connect, connectAsync, type Ends } from "./connecting.ts";
import { Pending, PendingRequests } from "./pending.ts";
import { SentRequests } from "./sent.ts";
import type { ClientOptions, DuplexResponse, IDuplexClient, RequestOptions } from "./types.ts";

/** How long a wait for responses goes on before the client checks the server. */
const SLICE_MS = 250;

/** How often a send that waits for room looks for responses that nobody waits for. */
const LATE_MS = 5;

/** A client, connected from {@link open} or {@link connect} to {@link close}. */
export class DuplexClient implements IDuplexClient {
  readonly #channel: string;
  readonly #requests: Writer;
  readonly #responses: Reader;
  /** Undefined if the server does not heed cancellations. */
  readonly #cancellations: Cancellations | undefined;
  /** Requests of {@link request}. A response that nobody waits for is dropped. */
  readonly #pending = new PendingRequests((pending) => this.#expire(pending));
  /** Requests whose responses {@link receiveResponse} returns. */
  readonly #sent = new SentRequests();
  /** Responses for {@link receiveResponse} that came while others were awaited. */
  readonly #unclaimed: Frame[] = [];
  readonly #turns = new TurnKeeper();
  #isReceiving = false;
  /** Whether responses may come that nobody waits for any more, and take room until they are read. */
  #expectsLate = false;
  #closed = false;

  private constructor(channel: string, { requests, responses }: Ends) {
    this.#channel = channel;
    this.#requests = requests;
    this.#responses = responses;
    this.#cancellations = responses.cancellations;
  }

  /** Connects, blocking the thread for up to `connectTimeoutMs`. */
  static open(channel: string, options: ClientOptions = {}): DuplexClient {
    return new DuplexClient(channel, connect(channel, options));
  }

  /** Connects without blocking the event loop. */
  static async connect(
    channel: string,
    options: ClientOptions & { signal?: AbortSignal | undefined } = {},
  ): Promise<DuplexClient> {
    return new DuplexClient(channel, await connectAsync(channel, options));
  }

  get maxRequestSize(): number {
    return this.#requests.maxFrameSize;
  }

  get honoursCancellation(): boolean {
    return this.#cancellations !== undefined;
  }

  get isServerConnected(): boolean {
    this.#guard();
    return this.#requests.isReaderConnected();
  }

  checkServer(): void {
    this.#guard();
    this.#requests.checkReader();
  }

  setMetadata(data: Uint8Array): void {
    this.#guard();
    this.#requests.setMetadata(data);
  }

  // ---- sending and receiving apart ---------------------------------------------------------------------------------

  sendRequest(data: Uint8Array): number {
    this.#prepareToSend(sizeOf(data));
    const sequence = this.#requests.nextSequence;
    this.#requests.writeFrame(data);
    this.#sent.add(sequence, this.#bytesSent);
    return sequence;
  }

  acquireRequestBuffer(size: number): { sequence: number; buffer: Uint8Array } {
    this.#prepareToSend(size);
    const { sequence, data } = this.#requests.acquireFrame(size);
    return { sequence, buffer: data };
  }

  commitRequest(): void {
    this.#guard();
    if (this.#requests.queue.acquiredSize === 0) {
      throw new ClosedError(`No request of channel "${this.#channel}" is acquired that could be committed.`, {
        buffer: this.#channel,
        hint: "Call acquireRequestBuffer(size) first.",
      });
    }
    const sequence = this.#requests.nextSequence;
    this.#requests.commitFrame();
    this.#sent.add(sequence, this.#bytesSent);
  }

  cancelRequestBuffer(): void {
    this.#guard();
    this.#requests.cancelFrame();
  }

  cancelRequest(sequence: number): boolean {
    this.#guard();
    if (!this.#sent.delete(sequence)) return false;
    const i = this.#unclaimed.findIndex((response) => response.sequence === sequence);
    if (i < 0) return this.#tellServer(sequence);
    for (const response of this.#unclaimed.splice(i, 1)) response.release();
    return false;
  }

  #tellServer(sequence: number): boolean {
    this.#expectsLate = true;
    this.#cancellations?.store(sequence);
    return this.honoursCancellation;
  }

  #prepareToSend(size: number): void {
    this.#guard();
    if (this.#requests.queue.acquiredSize > 0) {
      throw new ClosedError(`A request of channel "${this.#channel}" is acquired already.`, {
        buffer: this.#channel,
        hint: "Call commitRequest() or cancelRequestBuffer() first, or use request(), which waits for that.",
      });
    }
    if (this.#sent.areMany) this.#forgetFailed();
    if (this.#expectsLate) this.#makeRoom(size);
  }

  /** Waits for room as a write does, and drops meanwhile what was answered for nobody: that may be what takes the room. */
  #makeRoom(size: number): void {
    const timeoutMs = this.#requests.writeTimeout;
    const deadline = performance.now() + timeoutMs;
    const endedBefore = waitsEndedBySignals();
    this.#settleAll(this.#responses.tryReadFrame());
    while (this.#requests.tryAcquireFrame(size, LATE_MS) === undefined) {
      if (waitsEndedBySignals() !== endedBefore) throw this.#noRoom("when a signal arrived", "signal");
      if (performance.now() >= deadline) throw this.#noRoom(`within ${timeoutMs} ms`);
      this.#settleAll(this.#responses.tryReadFrame());
    }
    this.#requests.cancelFrame();
  }

  /** Bytes of all requests so far, with their headers. */
  get #bytesSent(): number {
    return this.#requests.bytesWritten + FRAME_HEADER_SIZE * this.#requests.framesWritten;
  }

  /** Forgets the sent requests that can no longer get a response, so that they do not pile up where handlers fail. */
  #forgetFailed(): void {
    // In this order: what is released by now is answered by now, or never.
    const { payloadFreeBytes, payloadSize } = this.#requests.loadOieb();
    const released = this.#bytesSent - (payloadSize - payloadFreeBytes);
    this.#settleAll(this.#responses.tryReadFrame());
    this.#sent.forget(released, new Set(this.#unclaimed.map((response) => response.sequence)));
  }

  receiveResponse(timeoutMs = 5000): DuplexResponse {
    this.#guard();
    checkTimeout("timeoutMs", timeoutMs);
    const start = performance.now();
    const endedBefore = waitsEndedBySignals();
    for (let now = start; ; now = performance.now()) {
      const sliceMs = Math.max(0, Math.min(SLICE_MS, start + timeoutMs - now));
      let response = this.#unclaimed.shift() ?? this.#responses.readFrame(sliceMs);
      if (!response.isValid) response = this.#lookAtServer();
      if (response.isValid) {
        if (this.#sent.delete(response.sequence)) return response;
        this.#settle(response);
      } else {
        if (waitsEndedBySignals() !== endedBefore || now + sliceMs >= start + timeoutMs) return response;
      }
    }
  }

  /** Throws if the server has gone, but returns what it has written since the last look first. */
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
    return this.begin(data, options).promise;
  }

  /** @internal {@link request}, with whether it was sent. */
  begin(data: Uint8Array, options?: RequestOptions): Pending {
    const pending = new Pending(options);
    try {
      this.#begin(pending, data);
    } catch (error) {
      this.#end(pending).reject(error);
    }
    return pending;
  }

  /** @internal Resolves when nobody waits for a response any more. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#pending.all().map(({ promise }) => promise));
  }

  /** @internal Whether {@link receiveResponse} is to return responses. */
  get hasSent(): boolean {
    return this.#sent.size > 0;
  }

  #begin(pending: Pending, data: Uint8Array): void {
    this.#guard();
    checkTimeout("timeoutMs", pending.timeoutMs);
    pending.signal?.throwIfAborted();
    if (pending.signal !== undefined) this.#endOnAbort(pending, pending.signal);
    if (!this.#requests.queue.isFree || !this.#send(pending, data)) this.#enqueue(pending, data);
    this.#pending.awaitStart(pending);
    // Once for all that are made in a row, after the last of them.
    if (this.#pending.unstarted === 1) queueMicrotask(this.#attend);
  }

  /** Sees to the requests that were made since the last time. */
  readonly #attend = (): void => {
    this.#pending.startTime();
    // Also while they wait for room: the server may wait for room as well.
    if (this.#pending.size > 0 && !this.#isReceiving) void this.#receive();
  };

  #endOnAbort(pending: Pending, signal: AbortSignal): void {
    pending.onAbort = () => this.#takeBack(pending).reject(signal.reason);
    signal.addEventListener("abort", pending.onAbort, { once: true });
  }

  /** Sends a request if there is room for it. */
  #send(pending: Pending, data: Uint8Array): boolean {
    const sequence = this.#requests.nextSequence;
    if (!this.#requests.tryWriteFrame(data)) return false;
    pending.sequence = sequence;
    this.#pending.addSent(pending);
    return true;
  }

  /** Sends a request when there is room and its turn has come; its own time ends the wait. */
  #enqueue(pending: Pending, data: Uint8Array): void {
    pending.write = {
      attempt: () => (this.#send(pending, data) ? Code.OK : Code.AGAIN),
      timeoutMs: Number.POSITIVE_INFINITY,
      onWritten: () => {},
      onFailed: (error) => this.#end(pending).reject(error),
    };
    this.#pending.addWaiting(pending);
    this.#requests.queue.add(pending.write);
  }

  /** Takes responses while a request waits for one. */
  async #receive(): Promise<void> {
    this.#isReceiving = true;
    try {
      while (this.#pending.size > 0) {
        const response =
          this.#responses.frameAtHand(undefined) ?? (await this.#responses.readFrameAsync(SLICE_MS));
        this.#settleAll(response.isValid ? response : this.#lookAtServer());
        // The callers go on first, and ask again.
        await undefined;
        // What they do may take any time, so look at the clock after each run.
        if (this.#turns.isDue(Number.POSITIVE_INFINITY)) await this.#turns.turn();
      }
    } catch (error) {
      this.#endAll(error);
    } finally {
      this.#isReceiving = false;
    }
  }

  /** Settles a response and all others that are available. */
  #settleAll(first: Frame): void {
    for (let response = first; response.isValid; response = this.#responses.tryReadFrame()) {
      this.#settle(response);
    }
  }

  /** Hands a response to its request. A response that nobody waits for is late or not ours: it is dropped. */
  #settle(response: Frame): void {
    const pending = this.#pending.find(response.sequence);
    if (pending !== undefined) this.#end(pending).resolve(response);
    else if (this.#sent.has(response.sequence)) this.#unclaimed.push(response);
    else response.release();
  }

  /** Takes a request off the list, and off the queue if it waits there. */
  #end(pending: Pending): Pending {
    this.#pending.remove(pending);
    if (pending.write !== undefined) this.#requests.queue.remove(pending.write);
    if (pending.onAbort !== undefined) pending.signal?.removeEventListener("abort", pending.onAbort);
    return pending;
  }

  /** Ends a request that nobody waits for any more. One that was sent is cancelled. */
  #takeBack(pending: Pending): Pending {
    if (pending.sequence > 0) this.#tellServer(pending.sequence);
    return this.#end(pending);
  }

  #endAll(error: unknown): void {
    for (const pending of this.#pending.all()) this.#end(pending).reject(error);
  }

  #expire(pending: Pending): void {
    if (pending.sequence > 0) this.#takeBack(pending).resolve(Frame.invalid);
    else this.#end(pending).reject(this.#noRoom(`within ${pending.timeoutMs} ms`));
  }

  #noRoom(when: string, reason: "timeout" | "signal" = "timeout"): BufferFullError {
    return new BufferFullError(reason, `Channel "${this.#channel}" had no room for the request ${when}.`, {
      buffer: this.#requests.name,
      hint:
        this.#requests.queue.acquiredSize > 0
          ? "An acquired request holds up the others: call commitRequest() or cancelRequestBuffer()."
          : "Its server is slower than its client, or the client holds responses: release them, wait longer, or ask less at once.",
    });
  }

  // ---- the end -----------------------------------------------------------------------------------------------------

  #guard(): void {
    if (!this.#closed) return;
    throw new ClosedError(`The client of channel "${this.#channel}" is closed.`, { buffer: this.#channel });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#pending.stopTime();
    const error = new ClosedError(`The client of channel "${this.#channel}" was closed.`, {
      buffer: this.#channel,
    });
    takeAllSteps(
      // First those that wait, so that none of them is sent yet.
      () => this.#requests.queue.close(error),
      () => this.#endAll(error),
      // The next client connects as soon as the requests have no writer, and makes its own responses then.
      () => this.#responses.close(),
      () => this.#requests.close(),
    );
  }

  /** As {@link close}. */
  [Symbol.dispose](): void {
    this.close();
  }
}
