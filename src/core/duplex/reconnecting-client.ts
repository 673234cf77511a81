// A client of a duplex channel that goes on with the next server when one has gone.

import { raceAbort, sleep } from "../../runtime/abort.ts";
import { takeAllSteps } from "../../runtime/steps.ts";
import { checkTimeout } from "../config.ts";
import { ClosedError, PeerTimeoutError, ReaderDeadError, WriterDeadError } from "../errors.ts";
import { DuplexClient } from "./client.ts";
import type { ClientOptions, DuplexResponse, IDuplexClient, RequestOptions } from "./types.ts";

/** How long a blocking call waits for the next server, in milliseconds: as long as it waits for room. */
const NEXT_SERVER_MS = 5000;

/** How a server has gone. */
type Departure = "left" | "died";

/** A client, connected to one server after another from {@link open} or {@link connect} to {@link close}. */
export class ReconnectingClient implements IDuplexClient {
  readonly #channel: string;
  readonly #options: ClientOptions;
  /** Undefined from the moment at which its server is seen to have gone until the next one is there. */
  #client: DuplexClient | undefined;
  /** How the last server has gone. */
  #departure: Departure = "left";
  /** The client of the last server, which hands out what that has answered and then leaves the channel. */
  #leaving: DuplexClient | undefined;
  #left: Promise<void> = Promise.resolve();
  #connecting: Connecting | undefined;
  /** How many requests wait for the next server; without any, nobody connects to it. */
  #waiting = 0;
  #metadata: Uint8Array | undefined;
  #maxRequestSize: number;
  #isClosed = false;

  private constructor(channel: string, options: ClientOptions, client: DuplexClient) {
    this.#channel = channel;
    this.#options = options;
    this.#client = client;
    this.#maxRequestSize = client.maxRequestSize;
  }

  /** As DuplexClient.open. */
  static open(channel: string, options: ClientOptions = {}): ReconnectingClient {
    return new ReconnectingClient(channel, options, DuplexClient.open(channel, options));
  }

  /** As DuplexClient.connect. */
  static async connect(
    channel: string,
    options: ClientOptions & { signal?: AbortSignal | undefined } = {},
  ): Promise<ReconnectingClient> {
    return new ReconnectingClient(channel, options, await DuplexClient.connect(channel, options));
  }

  get maxRequestSize(): number {
    return this.#maxRequestSize;
  }

  get honoursCancellation(): boolean {
    return this.#client?.honoursCancellation ?? false;
  }

  get isServerConnected(): boolean {
    this.#guard();
    return this.#client?.isServerConnected ?? false;
  }

  checkServer(): void {
    this.#guard();
    // The next request waits for the next server.
    this.#whileThere((client) => client.checkServer());
  }

  setMetadata(data: Uint8Array): void {
    this.#guard();
    this.#client?.setMetadata(data);
    this.#metadata = data.slice();
  }

  // ---- requests and their responses --------------------------------------------------------------------------------

  request(data: Uint8Array, options?: RequestOptions): Promise<DuplexResponse> {
    return this.#ask(data, options ?? {});
  }

  async #ask(data: Uint8Array, { timeoutMs = 5000, signal }: RequestOptions): Promise<DuplexResponse> {
    this.#guard();
    checkTimeout("timeoutMs", timeoutMs);
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const client = this.#client ?? (await this.#awaitServer(timeoutMs, deadline, signal));
      const restMs = Math.max(0, deadline - performance.now());
      const pending = client.begin(data, { timeoutMs: restMs, signal });
      try {
        return await pending.promise;
      } catch (error) {
        if (!this.#isGone(client, error)) throw error;
        // What was not sent is for the next server.
        if (pending.sequence > 0) throw this.#lost("a request in flight is not answered");
      }
    }
  }

  /** Whether a call has failed because the server has gone; if so, the next one is waited for. */
  #isGone(client: DuplexClient, error: unknown): boolean {
    if (this.#isClosed) return false;
    if (isDeath(error)) this.#lose(client, error.reason);
    return this.#client !== client;
  }

  #lose(client: DuplexClient, departure: Departure): void {
    if (this.#client !== client) return;
    this.#client = undefined;
    this.#departure = departure;
    this.#leaving = client;
    this.#left = client.settled().then(() => client.close());
    this.#callUser(departure);
  }

  #lost(what: string, { reason } = { reason: this.#departure }): WriterDeadError {
    return new WriterDeadError(reason, `The server of channel "${this.#channel}" has ${reason}: ${what}.`, {
      buffer: this.#channel,
      hint: "Receive what it has answered. What it has not may have been handled: ask again if that does no harm.",
    });
  }

  // ---- the next server ---------------------------------------------------------------------------------------------

  /** The next server, within the time of a request. */
  async #awaitServer(timeoutMs: number, deadline: number, signal?: AbortSignal): Promise<DuplexClient> {
    const ended = new AbortController();
    const { promise: late, reject } = Promise.withResolvers<never>();
    if (deadline < Number.POSITIVE_INFINITY) {
      const restMs = Math.max(0, deadline - performance.now());
      sleep(restMs, ended.signal).then(
        () => reject(this.#noServer(timeoutMs)),
        () => {},
      );
    }
    this.#waiting++;
    this.#connecting ??= new Connecting((signal) => this.#connectToNext(signal));
    try {
      return await raceAbort(Promise.race([this.#connecting.client, late]), signal);
    } catch (error) {
      this.#guard();
      throw error;
    } finally {
      ended.abort();
      this.#waiting--;
      if (this.#waiting === 0) this.#stopConnecting();
    }
  }

  async #connectToNext(signal: AbortSignal): Promise<DuplexClient> {
    await this.#left;
    const options = { ...this.#options, connectTimeoutMs: Number.POSITIVE_INFINITY, signal };
    return this.#use(await DuplexClient.connect(this.#channel, options));
  }

  #stopConnecting(): void {
    this.#connecting?.abort();
    this.#connecting = undefined;
  }

  #use(client: DuplexClient): DuplexClient {
    try {
      if (this.#metadata !== undefined) client.setMetadata(this.#metadata);
    } catch (error) {
      client.close();
      throw error;
    }
    this.#client = client;
    this.#connecting = undefined;
    this.#maxRequestSize = client.maxRequestSize;
    this.#callUser("came");
    return client;
  }

  /** What the program throws is an uncaught error of its own. */
  #callUser(change: "came" | Departure): void {
    queueMicrotask(() => this.#options.onServer?.(change));
  }

  #noServer(timeoutMs: number): PeerTimeoutError {
    return new PeerTimeoutError(`Channel "${this.#channel}" has had no server for ${timeoutMs} ms.`, {
      buffer: this.#channel,
      hint: "Start the server again, or wait longer for it.",
    });
  }

  // ---- sending and receiving apart ---------------------------------------------------------------------------------

  sendRequest(data: Uint8Array): number {
    return this.#send((client) => client.sendRequest(data));
  }

  acquireRequestBuffer(size: number): { sequence: number; buffer: Uint8Array } {
    return this.#send((client) => client.acquireRequestBuffer(size));
  }

  /** Calls a function that sends, of the next server if this one has gone. */
  #send<T>(send: (client: DuplexClient) => T): T {
    this.#guard();
    for (;;) {
      const client = this.#client ?? this.#connectNow();
      try {
        return send(client);
      } catch (error) {
        // What it has answered is received first.
        if (client.hasSent && isDeath(error)) throw this.#lost("it has answered for the last time", error);
        if (!this.#isGone(client, error)) throw error;
      }
    }
  }

  /** Connects to the next server, blocking the thread. */
  #connectNow(): DuplexClient {
    this.#stopConnecting();
    this.#leaving?.close();
    return this.#use(
      DuplexClient.open(this.#channel, { ...this.#options, connectTimeoutMs: NEXT_SERVER_MS }),
    );
  }

  commitRequest(): void {
    this.#guard();
    if (this.#client === undefined) throw this.#lost("the acquired request is lost");
    this.#client.commitRequest();
  }

  cancelRequestBuffer(): void {
    this.#guard();
    this.#client?.cancelRequestBuffer();
  }

  cancelRequest(sequence: number): boolean {
    this.#guard();
    return this.#client?.cancelRequest(sequence) ?? false;
  }

  receiveResponse(timeoutMs?: number): DuplexResponse {
    this.#guard();
    const client = this.#client ?? this.#connectNow();
    try {
      return client.receiveResponse(timeoutMs);
    } catch (error) {
      if (this.#isGone(client, error)) throw this.#lost("requests in flight are not answered");
      throw error;
    }
  }

  #whileThere(call: (client: DuplexClient) => void): void {
    const client = this.#client;
    if (client === undefined) return;
    try {
      call(client);
    } catch (error) {
      if (!this.#isGone(client, error)) throw error;
    }
  }

  // ---- the end -----------------------------------------------------------------------------------------------------

  #guard(): void {
    if (!this.#isClosed) return;
    throw new ClosedError(`The client of channel "${this.#channel}" is closed.`, { buffer: this.#channel });
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    takeAllSteps(
      () => this.#stopConnecting(),
      () => this.#leaving?.close(),
      () => this.#client?.close(),
    );
  }

  /** As {@link close}. */
  [Symbol.dispose](): void {
    this.close();
  }
}

function isDeath(error: unknown): error is ReaderDeadError | WriterDeadError {
  return error instanceof ReaderDeadError || error instanceof WriterDeadError;
}

/** Attempts to connect to the next server, which go on until one succeeds or none is needed any more. */
class Connecting {
  readonly client: Promise<DuplexClient>;
  readonly #aborted = new AbortController();

  constructor(connect: (signal: AbortSignal) => Promise<DuplexClient>) {
    this.client = connect(this.#aborted.signal);
    // Those who wait for it may have gone by then.
    this.client.catch(() => {});
  }

  abort(): void {
    this.#aborted.abort();
  }
}
