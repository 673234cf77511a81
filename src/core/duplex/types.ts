// What a duplex channel offers to its two sides. Names and meaning are those of the other implementations.

import type { BufferConfig } from "../config.ts";
import type { Frame } from "../frame.ts";

/**
 * The response to a request, in shared memory until it is released: hold it as briefly as possible. It is not valid
 * if none came in time.
 */
export type DuplexResponse = Frame;

/** How a server handles requests. */
export const ProcessingMode = {
  /** One after another, and the responses in the same order. */
  SINGLE_THREAD: "single-thread",
  /** Several asynchronous handlers at once, and the responses as they finish. */
  THREAD_POOL: "thread-pool",
} as const;
export type ProcessingMode = (typeof ProcessingMode)[keyof typeof ProcessingMode];

/** Returns the bytes of the response, at least one; they are copied before the request is released. */
export type RequestHandler = (request: Frame) => Uint8Array | Promise<Uint8Array>;

/**
 * Changes the bytes of the request in place (`request.getMutableSpan()`); they are the response. The request is the
 * handler's until it is done: the same object stands for a later request then.
 */
export type MutableRequestHandler = (request: Frame) => void | Promise<void>;

export interface RequestOptions {
  /** How long to wait for the response, the wait for room included, in milliseconds. Default 5000. */
  timeoutMs?: number;
  /** Gives the request up on this side: the promise rejects with the signal's reason, a late response is dropped. */
  signal?: AbortSignal | undefined;
}

/** The side that asks. One client at a time is connected to a channel. */
export interface IDuplexClient extends Disposable {
  /**
   * Writes a request, blocking while there is no room for it (up to 5 s), and returns its sequence number. The
   * response is what a later {@link receiveResponse} returns.
   *
   * @throws As Writer.writeFrame; WriterDeadError once the server has gone; ClosedError, also while a request is acquired.
   */
  sendRequest(data: Uint8Array): number;
  /**
   * The place of a request of `size` bytes, to be filled without a copy; {@link commitRequest} sends it, and
   * {@link cancelRequestBuffer} gives it up. Until then nothing else is sent: {@link request} waits, and the other ways to
   * send throw ClosedError. Waits and throws as {@link sendRequest}.
   */
  acquireRequestBuffer(size: number): { sequence: number; buffer: Uint8Array };
  /** Sends the acquired request. Throws ClosedError if none is acquired. */
  commitRequest(): void;
  /** Gives the acquired request up: it uses no sequence number, and nothing is sent. Does nothing if there is none. */
  cancelRequestBuffer(): void;
  /**
   * The next response to a request of {@link sendRequest} or {@link commitRequest}; `sequence` tells to which. Blocks
   * up to `timeoutMs` (default 5000).
   *
   * @returns an invalid response after the timeout, or early when a signal arrives.
   * @throws ReaderDeadError, WriterDeadError once the server has gone and its responses are received; ClosedError.
   */
  receiveResponse(timeoutMs?: number): DuplexResponse;
  /**
   * Sends a request and resolves to its response, whatever the order in which the server answers. Any number may be in
   * flight. Resolves to an invalid response after the timeout. The bytes must not change until the request is written,
   * which is at once if there is room, no request is acquired and none waits.
   *
   * @throws As {@link receiveResponse}; BufferFullError if it was not sent within the timeout.
   */
  request(data: Uint8Array, options?: RequestOptions): Promise<DuplexResponse>;
  /** The largest request that the channel takes, in bytes. */
  readonly maxRequestSize: number;
  /** Whether the server's process lives and has the channel open. */
  readonly isServerConnected: boolean;
  /** Sends metadata, once, before the first request. Throws as Writer.setMetadata. */
  setMetadata(data: Uint8Array): void;
  /** Disconnects. Requests that wait reject with ClosedError. */
  close(): void;
}

/** What a server has done since its last start. */
export interface ServerStatistics {
  /** Clients that have sent a request. */
  readonly clients: number;
  /** Requests handed to the handler. */
  readonly requests: number;
  /** Responses written. */
  readonly responses: number;
  /** Bytes of those requests. */
  readonly bytesIn: number;
  /** Bytes of those responses. */
  readonly bytesOut: number;
}

export interface IDuplexServer extends Disposable {
  /** Ends the service at once: the channel is gone, and what handlers still return is dropped. */
  stop(): void;
  readonly isRunning: boolean;
  readonly statistics: ServerStatistics;
  /** Told of every request without a response, with its sequence number, and of what befalls the channel (0). */
  onError: ((error: Error, sequence: number) => void) | undefined;
  /** Told of the metadata of each client that sends any, before its first request is handled. */
  onMetadata: ((metadata: Uint8Array) => void) | undefined;
  /** Told when the service has ended, by {@link stop} or on its own. */
  onStop: (() => void) | undefined;
}

export interface StartOptions {
  /** How many handlers may be at work at once in THREAD_POOL. Default 16. */
  concurrency?: number;
  /** Stops on its own after so many requests, once they are answered. Default: never. */
  limit?: number;
}

/** A server whose responses are bytes of their own. */
export interface IImmutableDuplexServer extends IDuplexServer {
  /**
   * Creates the channel and serves one client after another in the background; returns at once. A handler that throws
   * is reported to {@link onError}, and its request gets no response.
   *
   * @throws As the constructor of Reader; ClosedError if it is running already.
   */
  start(handler: RequestHandler, mode?: ProcessingMode, options?: StartOptions): void;
}

/** A server whose responses are the requests, changed in place. */
export interface IMutableDuplexServer extends IDuplexServer {
  /** As {@link IImmutableDuplexServer.start}. */
  start(handler: MutableRequestHandler, mode?: ProcessingMode, options?: StartOptions): void;
}

export interface ClientOptions {
  /** Sizes of the buffer that the client makes for the responses. */
  config?: BufferConfig;
  /**
   * How long to wait for the server, in milliseconds; 0 looks once. Default 0. A client that comes right after one that was
   * killed waits at least until the server has seen that, or half a second.
   */
  connectTimeoutMs?: number;
}

/** Receives what a server has to tell. */
export interface Logger {
  info(message: string): void;
  warn(message: string): void;
}

export interface IDuplexChannelFactory {
  createImmutableServer(channel: string, config?: BufferConfig): IImmutableDuplexServer;
  createMutableServer(channel: string, config?: BufferConfig): IMutableDuplexServer;
  /** Connects to a server, blocking up to `connectTimeoutMs`. Throws as the constructors of Writer and Reader. */
  createClient(channel: string, options?: ClientOptions): IDuplexClient;
  /** {@link createClient} without blocking the event loop. */
  connectClient(
    channel: string,
    options?: ClientOptions & { signal?: AbortSignal | undefined },
  ): Promise<IDuplexClient>;
}
