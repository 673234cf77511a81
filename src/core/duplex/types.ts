// The two sides of a duplex channel as a program sees them. Names and meaning are those of the other implementations.

import type { BufferConfig } from "../config.ts";
import type { Frame } from "../frame.ts";

/**
 * The response to a request, in shared memory until it is released: release it as soon as possible. If none came in time,
 * `isValid` is false. If it `isShared`, its bytes are those of the request, changed in place: they take room in the request
 * buffer, their view can only be read, and `getMutableSpan()` is a private copy.
 */
export type DuplexResponse = Frame;

/** How a server handles requests. */
export const ProcessingMode = {
  /** One handler at a time; responses in the order of the requests. */
  SINGLE_THREAD: "single-thread",
  /** Several asynchronous handlers at once; responses in the order in which they finish. */
  THREAD_POOL: "thread-pool",
} as const;
/** One of the modes of {@link ProcessingMode}. */
export type ProcessingMode = (typeof ProcessingMode)[keyof typeof ProcessingMode];

/** What a handler is given beside the request. */
export interface RequestContext {
  /**
   * Aborted once nobody waits for the response any more: the client has cancelled the request, has left or has died, or the
   * server stops. It is made when it is first read, and costs nothing before. What the handler throws after a cancellation is
   * no error, and what it returns is dropped.
   */
  readonly signal: AbortSignal;
}

/**
 * Handles one request. Returns the response, at least 1 byte, or a promise of it. The response is copied before the request
 * is released, so it may be the request's own bytes.
 */
export type RequestHandler = (request: Frame, context: RequestContext) => Uint8Array | Promise<Uint8Array>;

/**
 * Handles one request by changing its bytes in place (`request.getMutableSpan()`); these bytes are the response. Once the
 * handler is done, its view must not be used any more: the client may be reading the response there
 * ({@link ClientOptions.allowPayloadSharing}). The same Frame and context objects may be used for a later request; a signal stays
 * that of its request.
 */
export type MutableRequestHandler = (request: Frame, context: RequestContext) => void | Promise<void>;

/** Options of {@link IDuplexClient.request}. All optional. */
export interface RequestOptions {
  /**
   * How long to wait for room and for the response, in milliseconds: 0 or more, or Infinity. Default 5000. A request that gets
   * no response in time is cancelled.
   */
  timeoutMs?: number;
  /**
   * Cancels the request: the promise rejects with the signal's reason, the server is told if it heeds cancellations
   * ({@link IDuplexClient.honoursCancellation}), and a late response is dropped.
   */
  signal?: AbortSignal | undefined;
}

/** The side that sends requests. One client at a time is connected to a channel. */
export interface IDuplexClient extends Disposable {
  /**
   * Writes a request, blocking the thread for up to 5 s while there is no room for it. Its response is returned by a later
   * {@link receiveResponse}.
   *
   * @returns the sequence number of the request, which its response has as well.
   * @throws as Writer.writeFrame; WriterDeadError once the server has gone; ClosedError, also while a request is acquired.
   */
  sendRequest(data: Uint8Array): number;
  /**
   * Finds room for a request of `size` bytes in shared memory: fill `buffer`, then call {@link commitRequest}, or
   * {@link cancelRequestBuffer} to give it up. Until then nothing else is sent: {@link request} waits, and the other ways to
   * send throw ClosedError. Waits and throws as {@link sendRequest}.
   */
  acquireRequestBuffer(size: number): { sequence: number; buffer: Uint8Array };
  /** Sends the acquired request. Throws ClosedError if none is acquired. */
  commitRequest(): void;
  /** Gives the acquired request up: it uses no sequence number, and nothing is sent. Does nothing if there is none. */
  cancelRequestBuffer(): void;
  /**
   * Cancels a request of {@link sendRequest} or {@link commitRequest}: {@link receiveResponse} does not return its response
   * any more.
   *
   * @returns whether the server is told. False if the response has come already, if there is no such request, or if the
   *   server does not heed cancellations ({@link honoursCancellation}).
   * @throws ClosedError.
   */
  cancelRequest(sequence: number): boolean;
  /**
   * Takes the next response to a request of {@link sendRequest} or {@link commitRequest}; its `sequence` is that of the
   * request. Blocks the thread for up to `timeoutMs` milliseconds (default 5000; 0 looks once).
   *
   * @returns an invalid response after the timeout, or early when a signal arrives.
   * @throws ReaderDeadError or WriterDeadError once the server has gone and its responses have been received; RangeError;
   *   ClosedError.
   */
  receiveResponse(timeoutMs?: number): DuplexResponse;
  /**
   * Sends a request and resolves to its response, in whatever order the server answers. Any number of requests may be in
   * flight. Resolves to an invalid response after the timeout. `data` must not change until the request is written: at
   * once if there is room, no request is acquired and none waits.
   *
   * Rejects as {@link receiveResponse} throws, with BufferFullError if it was not sent within the timeout, and with the
   * reason of an aborted signal.
   */
  request(data: Uint8Array, options?: RequestOptions): Promise<DuplexResponse>;
  /** The size of the largest request that the channel takes, in bytes. */
  readonly maxRequestSize: number;
  /**
   * Whether the server heeds cancellations (docs/protocol.md, section 9.5); servers of version 1 do not. A cancellation is a
   * hint: if it comes too late, the request is handled as usual.
   */
  readonly honoursCancellation: boolean;
  /** Whether the server's process is alive and has the channel open. Throws ClosedError. */
  readonly isServerConnected: boolean;
  /** Throws ReaderDeadError if the server has gone, as the next request would; a program that has none to send can ask. */
  checkServer(): void;
  /** Sends metadata, once, before the first request. Throws as Writer.setMetadata. */
  setMetadata(data: Uint8Array): void;
  /** Disconnects. Pending requests reject with ClosedError. */
  close(): void;
}

/** What a server has done since its last start. All are counts from 0. */
export interface ServerStatistics {
  /** Clients that have connected and sent a request. */
  readonly clients: number;
  /** Requests that the handler was called with. */
  readonly requests: number;
  /** Responses written. */
  readonly responses: number;
  /** Of these, those that were not copied, because the client reads them in the request buffer. */
  readonly responsesShared: number;
  /** Requests that their client has taken back: before the handler was called, while it ran, or before it was answered. */
  readonly cancelled: number;
  /** Bytes of those requests. */
  readonly bytesIn: number;
  /** Bytes of those responses. */
  readonly bytesOut: number;
}

/**
 * The side that answers requests, one client after another. What {@link onError}, {@link onCancelled}, {@link onClient},
 * {@link onMetadata}, {@link onStop} and the logger throw is an uncaught error of the program, and never ends the service.
 */
export interface IDuplexServer extends Disposable {
  /** Ends the service at once: the channel is removed, and results of handlers that still run are dropped. */
  stop(): void;
  /** Whether the service runs: from `start` to {@link stop}, or until it ends by itself. */
  readonly isRunning: boolean;
  /** What the server has done since its last start. */
  readonly statistics: ServerStatistics;
  /**
   * A copy of the metadata of the client whose requests are handled; empty if it has sent none. While no client is served it
   * may still be that of the last one.
   */
  readonly metadata: Uint8Array;
  /**
   * Called for every request without a response, with its sequence number, and with 0 if the channel itself fails: after
   * CORRUPT_BUFFER and SEQUENCE_ERROR it is created anew, after anything else the service ends.
   */
  onError: ((error: Error, sequence: number) => void) | undefined;
  /** Called for every request that its client has taken back and that gets no response for that, with its sequence number. */
  onCancelled: ((sequence: number) => void) | undefined;
  /** Called when a client has come, has left, or has died. */
  onClient: ((change: "came" | "left" | "died") => void) | undefined;
  /** Called with the metadata of each client that sends any, before its first request is handled. */
  onMetadata: ((metadata: Uint8Array) => void) | undefined;
  /** Called when the service has ended, by {@link stop} or by itself. */
  onStop: (() => void) | undefined;
}

/** Options of a server's `start`. All optional. */
export interface StartOptions {
  /** How many handlers may run at once in THREAD_POOL, at least 1. Default 16. */
  concurrency?: number;
  /** Stops by itself after this many requests, once they are answered; at least 1. Default: never. */
  limit?: number;
  /**
   * Whether waits for requests block the thread, up to 250 ms at a time, between which the event loop has its turns: a request
   * then wakes one thread instead of two. For a program that only serves. A signal to which the program listens ends such a
   * wait. While a handler's promise is open, waits do not block. Default false.
   */
  blocks?: boolean;
}

/** A server whose responses are bytes of their own. */
export interface IImmutableDuplexServer extends IDuplexServer {
  /**
   * Creates the channel, and serves one client after another in the background; returns at once. If a handler throws,
   * {@link onError} is called, and the request gets no response.
   *
   * @throws as the constructor of Reader; RangeError for a bad option; ClosedError if the server is running already.
   */
  start(handler: RequestHandler, mode?: ProcessingMode, options?: StartOptions): void;
}

/** A server whose responses are the requests, changed in place. */
export interface IMutableDuplexServer extends IDuplexServer {
  /** As {@link IImmutableDuplexServer.start}. */
  start(handler: MutableRequestHandler, mode?: ProcessingMode, options?: StartOptions): void;
}

/** Options of a client. All optional. */
export interface ClientOptions {
  /**
   * Sizes of the buffer that the client creates for the responses. The default of `payloadSize` is at least the ring size of
   * the request buffer: responses may be as large as requests.
   */
  config?: BufferConfig;
  /**
   * How long to wait for the server, in milliseconds: 0 looks once, Infinity never ends. Default 0. After a client that was
   * killed, the next one waits until the server has noticed, for at least half a second.
   */
  connectTimeoutMs?: number;
  /**
   * Reads the responses of a server that changes requests in place where they are, in the request buffer (default false: the
   * server copies them). That is for responses of 4096 bytes and more, on Linux, and between processes of one user; others are
   * copied all the same. Responses that are not read yet or not released take the room of their requests then: a client that holds some
   * while it sends needs a request buffer with room for both, or gets BufferFullError.
   */
  allowPayloadSharing?: boolean | undefined;
  /**
   * Goes on with the next server when one has gone (default false). Requests in flight reject with WriterDeadError, once what
   * the server has answered is handed out; later ones, and those that were not sent yet, wait for the next server for up to
   * their own timeout, and then reject with PeerTimeoutError. The next server gets the same metadata. Sequence numbers begin
   * at 1 again. {@link IDuplexClient.sendRequest} waits for up to 5 s; while requests of its own are unanswered it throws
   * WriterDeadError, until {@link IDuplexClient.receiveResponse} has returned what came and has thrown it, too.
   */
  reconnect?: boolean;
  /** With `reconnect`, called when a server has left or died, and when the next one is connected to. */
  onServer?: (change: "came" | "left" | "died") => void;
}

/** Receives the messages of a server. */
export interface Logger {
  /** A client has connected or left. */
  info(message: string): void;
  /** A request got no response, or a client cannot be connected to. */
  warn(message: string): void;
}

/** Creates the two sides of duplex channels. All methods throw InvalidNameError if the channel's name is not allowed. */
export interface IDuplexChannelFactory {
  /** A server whose handler returns its responses. `config`: sizes of the buffer of requests. */
  createImmutableServer(channel: string, config?: BufferConfig): IImmutableDuplexServer;
  /** A server whose handler changes requests in place. `config`: sizes of the buffer of requests. */
  createMutableServer(channel: string, config?: BufferConfig): IMutableDuplexServer;
  /** Connects to a server, blocking for up to `connectTimeoutMs`. Throws as the constructors of Writer and Reader. */
  createClient(channel: string, options?: ClientOptions): IDuplexClient;
  /** {@link createClient} without blocking the event loop. Rejects with the reason of an aborted signal. */
  connectClient(
    channel: string,
    options?: ClientOptions & { signal?: AbortSignal | undefined },
  ): Promise<IDuplexClient>;
}
