// The service of a duplex channel: from the creation of its request buffer to its end, for one client after another.

import { OiebFlag } from "../../native/memory.ts";
import { TurnKeeper } from "../../runtime/turn.ts";
import { buffersOf, type ChannelBuffers } from "../buffer/names.ts";
import { removeStaleBuffer } from "../buffer/stale.ts";
import type { BufferConfig } from "../config.ts";
import {
  CorruptBufferError,
  ReaderDeadError,
  SequenceError,
  WriterDeadError,
  ZeroBufferError,
} from "../errors.ts";
import type { Frame } from "../frame.ts";
import { Reader } from "../reader.ts";
import { Conversation } from "./conversation.ts";
import { RequestInHand, RunningSignals } from "./running.ts";
import type { RequestHandler, ServerStatistics } from "./types.ts";

/** The pause before the next attempt to connect to a client's response buffer, in milliseconds. */
const ATTACH_PAUSE_MS = 5;

/**
 * How long to wait for a request before looking for a new client, for its response buffer and for its metadata, in
 * milliseconds. A client of version 1 looks for its server at its response buffer, which the server has to connect to.
 */
const SLICE_MS = 50;

/** The same while a client is there that has sent a request. */
const LONG_SLICE_MS = 250;

const CLIENT_GONE = "its client has gone";

const NO_METADATA = new Uint8Array(0);

/** What a service does. */
export interface Task {
  readonly handle: RequestHandler;
  /**
   * Whether responses are the bytes of their requests. The objects of an answered request, its Frame and its context, are used
   * again for the next one then.
   */
  readonly isInPlace: boolean;
  /** How many handlers run at once. */
  readonly concurrency: number;
  /** The service ends after this many requests. */
  readonly limit: number;
  /** Whether waits for requests block the thread while no handler is at work. */
  readonly blocks: boolean;
}

/** What a service tells its program. These functions never throw, whatever the program does. */
export interface Observer {
  info(message: () => string): void;
  warn(message: () => string): void;
  /** `sequence` is that of the request without a response, or 0. */
  failed(error: Error, sequence: number): void;
  /** `sequence` is that of the request that its client has taken back. */
  cancelled(sequence: number): void;
  clientChanged(change: "came" | "left" | "died"): void;
  receivedMetadata(metadata: Uint8Array): void;
  ended(): void;
}

/** Counts of one run of a server. */
export class Statistics implements ServerStatistics {
  clients = 0;
  requests = 0;
  responses = 0;
  responsesShared = 0;
  cancelled = 0;
  bytesIn = 0;
  bytesOut = 0;
}

/** Serves one client after another, from its construction to {@link stop}. */
export class Service {
  readonly #channel: string;
  readonly #buffers: ChannelBuffers;
  readonly #config: BufferConfig | undefined;
  readonly #task: Task;
  readonly #observer: Observer;
  readonly #statistics = new Statistics();
  readonly #stopped = new AbortController();
  readonly #turns = new TurnKeeper();
  readonly #atWork = new Set<Promise<void>>();
  /** The requests in hand whose handlers want to know when nobody waits for them any more. */
  readonly #signals = new RunningSignals(
    () => queueMicrotask(() => void this.#watchSignals()),
    (sequence) => this.#noteCancellation(sequence),
  );
  #isWatchingSignals = false;
  /** Ends the wait for a running handler. */
  #resume: () => void = () => {};
  #requests: Reader;
  /** Undefined if there is no client, or if it has gone: then its requests are dropped. */
  #conversation: Conversation | undefined;
  /** The metadata when it was last read. */
  #metadata: Uint8Array = NO_METADATA;
  /** The objects of an answered request, to be used for the next one. */
  #answered: Frame | undefined;
  #answeredInHand: RequestInHand | undefined;
  /** What was last told to be in the way of connecting to the response buffer. */
  #lastWarning = "";
  /** Whether the client may still send metadata. It sends none after its first request. */
  #awaitsMetadata = false;

  /** Creates the request buffer. Throws as the constructor of Reader. */
  constructor(channel: string, config: BufferConfig | undefined, task: Task, observer: Observer) {
    this.#channel = channel;
    this.#buffers = buffersOf(channel);
    this.#config = config;
    this.#task = task;
    this.#observer = observer;
    this.#requests = this.#createRequests();
  }

  /** Throws as the constructor of Reader. */
  #createRequests(): Reader {
    const options = { flags: OiebFlag.CANCELLATION, isSource: this.#task.isInPlace };
    return new Reader(this.#buffers.requests, this.#config, options);
  }

  get statistics(): ServerStatistics {
    return this.#statistics;
  }

  /** A copy of the metadata of the client that is served. */
  get metadata(): Uint8Array {
    return this.#metadata.slice();
  }

  /** Serves until it is stopped. Never rejects. */
  async run(): Promise<void> {
    while (!this.#isStopped) {
      try {
        await this.#serveClient();
      } catch (error) {
        if (this.#isStopped) return;
        await this.#afterClient(error as Error);
      }
    }
  }

  stop(): void {
    if (this.#isStopped) return;
    this.#stopped.abort();
    this.#hangUp("the server was stopped");
    this.#requests.close();
    this.#resume();
    this.#observer.ended();
  }

  get #isStopped(): boolean {
    return this.#stopped.signal.aborted;
  }

  /** Serves a client until the limit is reached. Throws WriterDeadError when the client has gone. */
  async #serveClient(): Promise<void> {
    const { signal } = this.#stopped;
    this.#awaitsMetadata = true;
    let isFirst = true;
    while (this.#statistics.requests < this.#task.limit) {
      const request = this.#requests.frameAtHand(signal, this.#answered) ?? (await this.#nextRequest());
      if (request.sequence === 1) {
        // The next client came before this server saw the last one leave.
        if (!isFirst) this.#awaitsMetadata = true;
        await this.#attach();
        this.#completeMetadata();
      }
      isFirst = false;
      const work = this.#answer(request);
      if (work !== undefined) this.#answered = this.#answeredInHand = undefined;
      else if (this.#task.isInPlace) this.#answered = request;
      if (work !== undefined) await this.#track(work);
      // A handler may take any time, so the clock is checked after each.
      if (this.#turns.isDue(Number.POSITIVE_INFINITY)) await this.#turns.turn();
    }
    await Promise.all(this.#atWork);
    this.stop();
  }

  async #nextRequest(): Promise<Frame> {
    for (;;) {
      if (this.#awaitsMetadata) this.#lookForMetadata();
      if (!this.#isAttached()) await this.#tryToAttach();
      const isSettled = this.#conversation !== undefined && !this.#awaitsMetadata;
      const request = await this.#waitForRequest(isSettled ? LONG_SLICE_MS : SLICE_MS);
      if (request.isValid) return request;
    }
  }

  async #waitForRequest(timeoutMs: number): Promise<Frame> {
    if (!this.#task.blocks || this.#atWork.size > 0) {
      return await this.#requests.readFrameAsync(timeoutMs, { signal: this.#stopped.signal });
    }
    const request = this.#requests.readFrame(timeoutMs);
    // What ended the wait may be a signal, whose listeners run at a turn.
    if (!request.isValid) await this.#turns.turn();
    return request;
  }

  #lookForMetadata(): void {
    const metadata = this.#requests.getMetadata();
    // Metadata that has not changed may be that of the last client.
    if (Buffer.compare(metadata, this.#metadata) === 0) return;
    this.#metadata = metadata;
    if (metadata.length === 0) return;
    this.#awaitsMetadata = false;
    this.#observer.receivedMetadata(metadata);
  }

  // ---- the client --------------------------------------------------------------------------------------------------

  /** Whether the server is connected to the response buffer that the channel's name means, and its reader is there. */
  #isAttached(): boolean {
    if (this.#conversation === undefined) return false;
    try {
      this.#conversation.responses.checkReader();
      return true;
    } catch {
      this.#hangUp();
      return false;
    }
  }

  /** Connects to the response buffer of the present client, which has asked; without a client, returns without that. */
  async #attach(): Promise<void> {
    while (!this.#isAttached()) {
      const obstacle = await this.#tryToAttach();
      if (obstacle === undefined) return;
      this.#warnOnce(obstacle);
      await Bun.sleep(ATTACH_PAUSE_MS);
    }
  }

  /** Makes one attempt to connect to the response buffer, if there is a client. Returns what is in the way. */
  async #tryToAttach(): Promise<ZeroBufferError | undefined> {
    const { signal } = this.#stopped;
    const readerPid = this.#requests.writerPid;
    if (readerPid === 0n) return undefined;
    try {
      const source = this.#task.isInPlace ? this.#requests.sharing : undefined;
      this.#conversation = await Conversation.connect(this.#buffers.responses, { readerPid, source, signal });
      this.#statistics.clients++;
      this.#observer.info(() => `A client has connected to channel "${this.#channel}".`);
      this.#observer.clientChanged("came");
      return undefined;
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof ZeroBufferError)) throw error;
      return error;
    }
  }

  /** Warns of an obstacle when it is met first, and not at each attempt. */
  #warnOnce({ message }: ZeroBufferError): void {
    if (message === this.#lastWarning) return;
    this.#lastWarning = message;
    this.#observer.warn(() => message);
  }

  /** After the first request no metadata comes any more. */
  #completeMetadata(): void {
    this.#lookForMetadata();
    // A client of this package removes the metadata of the last one, but may have sent the same again.
    if (this.#awaitsMetadata && this.#conversation?.isNumbered) {
      this.#metadata = NO_METADATA;
      this.#lookForMetadata();
    }
    this.#awaitsMetadata = false;
  }

  #hangUp(why = CLIENT_GONE): void {
    this.#abortAll(why);
    this.#conversation?.close();
    this.#conversation = undefined;
    this.#lastWarning = "";
  }

  /** @param why nobody waits for the requests in hand any more, as half a sentence. */
  #abortAll(why: string): void {
    if (this.#conversation !== undefined) this.#signals.abortAll(this.#conversation, why);
  }

  /** Gets ready for the next client, or ends the service if the request buffer has failed. */
  async #afterClient(error: Error): Promise<void> {
    if (error instanceof WriterDeadError) this.#abortAll(CLIENT_GONE);
    await Promise.all(this.#atWork);
    this.#hangUp();
    if (this.#isStopped) return;
    if (error instanceof WriterDeadError) {
      // A client that was killed has left its buffer.
      if (error.reason === "died") removeStaleBuffer(this.#buffers.responses);
      this.#observer.info(() => `The client of channel "${this.#channel}" has ${error.reason}.`);
      this.#observer.clientChanged(error.reason);
      return;
    }
    this.#observer.failed(error, 0);
    if (this.#isStopped) return;
    if (!(error instanceof CorruptBufferError || error instanceof SequenceError)) return this.stop();
    // A client has made the buffer corrupt: the next one gets a new buffer.
    try {
      this.#requests.close();
      this.#requests = this.#createRequests();
    } catch (failure) {
      this.#observer.failed(failure as Error, 0);
      this.stop();
    }
  }

  // ---- requests and responses --------------------------------------------------------------------------------------

  /** Handles a request and answers it; returns a promise only if that takes time. Never throws. */
  #answer(request: Frame): Promise<void> | undefined {
    const conversation = this.#conversation;
    if (conversation === undefined) {
      request.release();
      return undefined;
    }
    const inHand = this.#answeredInHand ?? new RequestInHand(this.#signals);
    inHand.begin(request.sequence, conversation);
    try {
      if (this.#isWanted(conversation, inHand)) {
        this.#statistics.requests++;
        this.#statistics.bytesIn += request.size;
        const response = this.#task.handle(request, inHand);
        if (!(response instanceof Uint8Array) || !this.#isDone(conversation, request, inHand, response)) {
          return this.#answerLater(conversation, request, inHand, response);
        }
      }
    } catch (error) {
      this.#fail(conversation, inHand, error);
    }
    inHand.end();
    request.release();
    if (this.#task.isInPlace) this.#answeredInHand = inHand;
    return undefined;
  }

  async #answerLater(
    conversation: Conversation,
    request: Frame,
    inHand: RequestInHand,
    result: Uint8Array | Promise<Uint8Array>,
  ): Promise<void> {
    try {
      const response = await result;
      while (!this.#isDone(conversation, request, inHand, response)) {
        await conversation.responses.waitForRoom(this.#stopped.signal);
      }
    } catch (error) {
      this.#fail(conversation, inHand, error);
    }
    inHand.end();
    request.release();
  }

  /** Whether the request is to be answered: its client is there, and has not cancelled it. */
  #isWanted(conversation: Conversation, inHand: RequestInHand): boolean {
    return conversation === this.#conversation && !inHand.isCancelled();
  }

  #noteCancellation(sequence: number): void {
    this.#statistics.cancelled++;
    this.#observer.cancelled(sequence);
  }

  /** Writes a response if it is wanted and there is room. False if it is to be tried again when there may be room. */
  #isDone(conversation: Conversation, request: Frame, inHand: RequestInHand, response: Uint8Array): boolean {
    if (!this.#isWanted(conversation, inHand)) return true;
    const outcome = conversation.tryToAnswer(inHand.sequence, request, response);
    // A write may have taken tokens of cancellations.
    if (this.#signals.size > 0) this.#signals.look();
    if (outcome === undefined) return !this.#isWanted(conversation, inHand);
    this.#statistics.responses++;
    if (outcome === "shared") this.#statistics.responsesShared++;
    this.#statistics.bytesOut += response.length;
    return true;
  }

  /** Aborts the signals of requests that are not wanted any more, until no handler with a signal runs. */
  async #watchSignals(): Promise<void> {
    if (this.#isWatchingSignals) return;
    this.#isWatchingSignals = true;
    let checkedAt = performance.now();
    while (this.#signals.size > 0 && this.#conversation !== undefined) {
      const { responses } = this.#conversation;
      responses.queue.clearTokens();
      this.#signals.look();
      if (this.#signals.size === 0) break;
      // The client's departure posts a token, too.
      await responses
        .waitForRoom(this.#stopped.signal, LONG_SLICE_MS)
        .catch(() => Bun.sleep(ATTACH_PAUSE_MS));
      const isDue = performance.now() - checkedAt >= LONG_SLICE_MS;
      if (isDue || this.#conversation?.responses.loadOieb().readerPid === 0n) {
        this.#isAttached();
        checkedAt = performance.now();
      }
    }
    this.#isWatchingSignals = false;
  }

  /** Waits while as many handlers run as are allowed. */
  async #track(work: Promise<void>): Promise<void> {
    const isNumbered = this.#conversation?.isNumbered ?? true;
    this.#atWork.add(work);
    void work.then(() => {
      this.#atWork.delete(work);
      this.#resume();
    });
    // A client that takes no numbers but 1, 2, 3 … must be answered in order.
    const limit = isNumbered ? this.#task.concurrency : 1;
    while (this.#atWork.size >= limit && !this.#isStopped) {
      await new Promise<void>((resolve) => {
        this.#resume = resolve;
      });
    }
  }

  #fail(conversation: Conversation, inHand: RequestInHand, error: unknown): void {
    // If the service has ended, the client has gone or has cancelled the request, the handler has not failed.
    if (this.#isStopped || !this.#isWanted(conversation, inHand) || inHand.isAborted) return;
    // The reader of another buffer, which the handler writes to, is not the client.
    if (error instanceof ReaderDeadError && error.buffer === this.#buffers.responses) {
      this.#hangUp();
      return;
    }
    const { sequence } = inHand;
    const failure = toError(error);
    this.#observer.warn(
      () => `Request ${sequence} of channel "${this.#channel}" got no response: ${failure.message}`,
    );
    this.#observer.failed(failure, sequence);
  }
}

/** What a handler threw, as an error. */
function toError(thrown: unknown): Error {
  if (thrown instanceof Error) return thrown;
  try {
    return new Error(String(thrown));
  } catch {
    return new Error("The handler threw a value that cannot be shown as text.", { cause: thrown });
  }
}
