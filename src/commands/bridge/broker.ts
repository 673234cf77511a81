// The connection to a broker: made, lost and made again, and how that ends.

import type { Msg, MsgHdrs, NatsConnection } from "@nats-io/transport-node";
import { CommandError } from "../../cli/failure.ts";
import type { Session } from "../../cli/session.ts";
import { raceAbort } from "../../runtime/abort.ts";
import { explainBroker, explainConnect, isWorthRetrying } from "./errors.ts";
import { Garbage, MOST_OLD_BYTES } from "./garbage.ts";
import type { Access } from "./options.ts";

/** How often the client asks whether the server is still there, in milliseconds; it gives up after the second silence. */
const PING_MS = 10_000;

/** How long one attempt to connect may take, in milliseconds, and how long to wait after it. */
const ATTEMPT_MS = 5000;
const PAUSE_MS = 250;

/** How long the client waits between two attempts to reconnect, and how much longer at most, by chance, in milliseconds. */
const RECONNECT_MS = 500;
const RECONNECT_JITTER_MS = 250;

/** Within which time of each other clients come back to a server that was away, in milliseconds. */
export const RETURN_MS = RECONNECT_MS + RECONNECT_JITTER_MS + 250;

type Library = typeof import("@nats-io/transport-node");

/** A connection that comes back by itself. Disposing it closes it. */
export class Broker implements Disposable {
  readonly library: Library;
  readonly connection: NatsConnection;
  /** The addresses that were given. */
  readonly shown: string;
  /** Called when the connection is lost, and when it is there again. */
  readonly onLost: (() => void)[] = [];
  readonly onBack: (() => void)[] = [];
  /** Rejects when the connection cannot be used any more: it is closed for good, or something is forbidden. */
  readonly failed: Promise<never>;
  /** What the client copies of received messages. */
  readonly garbage = new Garbage(MOST_OLD_BYTES.received);
  readonly #session: Session;
  readonly #saysOutages: boolean;
  readonly #fail: (error: unknown) => void;
  #isConnected = true;
  #outages = 0;

  private constructor(
    library: Library,
    connection: NatsConnection,
    shown: string,
    session: Session,
    saysOutages: boolean,
  ) {
    this.library = library;
    this.#saysOutages = saysOutages;
    this.connection = connection;
    this.shown = shown;
    this.#session = session;
    const { promise, reject } = Promise.withResolvers<never>();
    this.failed = promise;
    this.#fail = reject;
    // It is awaited where there is nothing else to wait for.
    promise.catch(() => {});
    void this.#watch();
  }

  /**
   * Connects. A server that is not there is tried again.
   *
   * @param saysOutages whether to print lines for people when the server goes and when it is there again.
   * @throws CommandError PEER_TIMEOUT if no server is there within the time; PERMISSION_DENIED, IO_ERROR.
   */
  static async connect(
    access: Access,
    connectTimeoutMs: number,
    session: Session,
    saysOutages: boolean,
  ): Promise<Broker> {
    const { servers, shown, user, password, creds, tls } = access;
    const library = await import("@nats-io/transport-node");
    const { signal, log } = session;
    const deadline = performance.now() + connectTimeoutMs;
    for (let isFirst = true; ; isFirst = false) {
      const attempt = library.connect({
        servers: [...servers],
        name: "zerobuffer",
        maxReconnectAttempts: -1,
        reconnectTimeWait: RECONNECT_MS,
        reconnectJitter: RECONNECT_JITTER_MS,
        reconnectJitterTLS: RECONNECT_JITTER_MS,
        noRandomize: true,
        pingInterval: PING_MS,
        timeout: ATTEMPT_MS,
        noAsyncTraces: true,
        ...(user !== undefined && { user, pass: password ?? "" }),
        ...(creds !== undefined && { authenticator: library.credsAuthenticator(creds) }),
        ...(tls !== undefined && { tls }),
      });
      // If a signal comes first, nobody else closes it.
      const discard = () => void attempt.then((connection) => connection.close()).catch(() => {});
      try {
        const connection = await raceAbort(attempt, signal);
        log?.info(`Connected to the NATS server ${connection.getServer()}.`);
        return session.own(new Broker(library, connection, shown, session, saysOutages));
      } catch (error) {
        if (signal.aborted) discard();
        signal.throwIfAborted();
        const isLate = performance.now() >= deadline;
        if (isLate || !isWorthRetrying(error)) throw explainConnect(error, shown);
        if (isFirst) log?.info(`${explainBroker(error, shown).message} Waiting for it.`);
        await raceAbort(Bun.sleep(Math.min(PAUSE_MS, deadline - performance.now())), signal);
      }
    }
  }

  /** Whether what is published now reaches the server, as far as is known. */
  get isConnected(): boolean {
    return this.#isConnected;
  }

  /** How often the connection was lost. */
  get outages(): number {
    return this.#outages;
  }

  /** Bytes that a message may have, headers and all. */
  get maxPayload(): number {
    return this.connection.info?.max_payload ?? 0;
  }

  /** Calls `take` for each message on a subject, in their order; with `queue` they are shared with others of that name. */
  subscribe(subject: string, take: (message: Msg) => void, queue?: string): void {
    this.connection.subscribe(subject, {
      ...(queue !== undefined && { queue }),
      callback: (error, message) => {
        if (error !== null) return this.fail(error);
        this.garbage.note(message.data.length);
        try {
          take(message);
        } catch (thrown) {
          this.fail(thrown);
        }
      },
    });
  }

  /** Publishes a message. An error ends the command. */
  publish(subject: string, data: Uint8Array, headers: Readonly<Record<string, string>>): void {
    try {
      this.connection.publish(subject, data, { headers: this.headersOf(headers) });
    } catch (error) {
      this.fail(error);
    }
  }

  /** Headers as the client takes them. */
  headersOf(headers: Readonly<Record<string, string>>): MsgHdrs {
    const values: Record<string, string[]> = {};
    for (const name in headers) values[name] = [headers[name] ?? ""];
    return this.library.MsgHdrsImpl.fromRecord(values);
  }

  /** Ends the command with this error. */
  fail(error: unknown): void {
    this.#fail(explainBroker(error, this.shown));
  }

  /** Waits for `work`, but no longer than the connection can be used, nor than until a signal. */
  async race<T>(work: Promise<T>): Promise<T> {
    return await raceAbort(Promise.race([work, this.failed]), this.#session.signal);
  }

  async #watch(): Promise<void> {
    const { log } = this.#session;
    void this.connection.closed().then((error) => {
      this.#isConnected = false;
      const reason = error ?? new CommandError("IO_ERROR", `The connection to ${this.shown} was closed.`);
      this.fail(reason);
    });
    for await (const status of this.connection.status()) {
      switch (status.type) {
        case "disconnect":
          if (!this.#isConnected) break;
          this.#isConnected = false;
          this.#outages++;
          this.#tell(`The NATS server ${status.server} has gone. Waiting for it.`);
          for (const act of this.onLost) act();
          break;
        case "reconnect":
          this.#isConnected = true;
          this.#tell(`The NATS server ${status.server} is there again.`);
          for (const act of this.onBack) act();
          break;
        case "error":
          if (status.error instanceof this.library.PermissionViolationError) this.fail(status.error);
          else log?.warn(`The NATS server says: ${status.error.message}`);
          break;
        case "slowConsumer":
        case "ldm":
          log?.warn(`The NATS client says: ${status.type}.`);
          break;
      }
    }
  }

  #tell(message: string): void {
    const { log, stderr } = this.#session;
    if (log !== undefined) log.warn(message);
    else if (this.#saysOutages) stderr.add(`warn: ${message}`);
  }

  [Symbol.dispose](): void {
    this.onLost.length = 0;
    this.onBack.length = 0;
    void this.connection.close().catch(() => {});
  }
}
