// The connection to the server: shows the token, gets frames one at a time, and comes back by itself.

import {
  CloseCode,
  DETAILS_PATH,
  type FrameHead,
  type PageMessage,
  type ServerMessage,
  SOCKET_PATH,
} from "../protocol.ts";

/** How long to wait before it is tried again, in milliseconds. */
const RETRY_MS = 500;

/** How often the clocks are compared, in milliseconds. */
const CLOCK_MS = 2000;

/** What becomes of a connection. */
export type ConnectionState = "connecting" | "connected" | "lost" | "refused" | "full";

/** What a connection tells. */
export interface ConnectionListener {
  onState(state: ConnectionState): void;
  onMessage(message: Exclude<ServerMessage, FrameHead>): void;
  onFrame(head: FrameHead, data: Uint8Array<ArrayBuffer>): void;
}

/** A connection that is made again and again. */
export class Connection {
  readonly #listener: ConnectionListener;
  #token = "";
  #socket: WebSocket | undefined;
  #head: FrameHead | undefined;
  #state: ConnectionState = "connecting";
  #askedAt = 0;
  /** How long the answer took that the clocks were compared by, in milliseconds; longer as it gets older. */
  #leastMs = Number.POSITIVE_INFINITY;
  /** How much later the server's clock is, in milliseconds. */
  #offsetMs = 0;

  constructor(listener: ConnectionListener) {
    this.#listener = listener;
    setInterval(() => this.#compareClocks(), CLOCK_MS);
  }

  /** Connects with a token. */
  start(token: string): void {
    this.#token = token;
    this.#setState("connecting");
    this.#connect();
  }

  /** The time of the server's clock, in milliseconds since 1970. */
  get serverMs(): number {
    return performance.timeOrigin + performance.now() + this.#offsetMs;
  }

  /** Asks for the next frame, or takes that back. */
  ask(ready: boolean): void {
    this.#send({ ready });
  }

  /** What is known of a buffer; undefined if it is gone. Rejects if the server is gone. */
  async details<T>(name: string): Promise<T | undefined> {
    const headers = { Authorization: `Bearer ${this.#token}` };
    const response = await fetch(`${DETAILS_PATH}${encodeURIComponent(name)}`, { headers });
    return response.ok ? ((await response.json()) as T) : undefined;
  }

  #connect(): void {
    const socket = new WebSocket(
      `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${SOCKET_PATH}`,
    );
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#head = undefined;
    socket.addEventListener("open", () => this.#send({ token: this.#token }));
    socket.addEventListener("message", ({ data }) => this.#receive(data));
    socket.addEventListener("close", ({ code }) => this.#lose(code));
  }

  #lose(code: number): void {
    const isRefused = code === CloseCode.REFUSED;
    this.#setState(isRefused ? "refused" : code === CloseCode.FULL ? "full" : "lost");
    if (!isRefused) setTimeout(() => this.#connect(), RETRY_MS);
  }

  #receive(data: string | ArrayBuffer): void {
    if (typeof data !== "string") {
      if (this.#head !== undefined) this.#listener.onFrame(this.#head, new Uint8Array(data));
      return;
    }
    const message: ServerMessage = JSON.parse(data);
    if (message.type === "frame") {
      this.#head = message;
      return;
    }
    if (message.type === "welcome") {
      this.#setState("connected");
      this.#leastMs = Number.POSITIVE_INFINITY;
      this.#compareClocks();
    }
    if (message.type === "clock") {
      this.#noteClock(message.ms, performance.now());
    }
    this.#listener.onMessage(message);
  }

  /** An answer that waited behind a frame says less than one that came at once. */
  #noteClock(serverMs: number, now: number): void {
    const tookMs = now - this.#askedAt;
    if (tookMs > this.#leastMs) {
      this.#leastMs *= 1.1;
      return;
    }
    this.#leastMs = tookMs;
    this.#offsetMs = serverMs - performance.timeOrigin - (now + this.#askedAt) / 2;
  }

  #compareClocks(): void {
    if (this.#state !== "connected") return;
    this.#askedAt = performance.now();
    this.#send({ ping: true });
  }

  #send(message: PageMessage): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #setState(state: ConnectionState): void {
    if (state === this.#state && state !== "connecting") return;
    this.#state = state;
    this.#listener.onState(state);
  }
}
