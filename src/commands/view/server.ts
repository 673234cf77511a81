// The server of the page: answers those alone who ask for the address that was printed, and shows frames to those with the token.

import { systemReason } from "../../cli/failure.ts";
import { notListening } from "../../cli/listening.ts";
import type { Endpoint } from "../../cli/values.ts";
import { Browser, type Browsers } from "./browsers.ts";
import type { PageFile } from "./page-files.ts";
import { CloseCode, DETAILS_PATH, type PageMessage, type ServerMessage, SOCKET_PATH } from "./protocol.ts";
import { MOST_SHOWN } from "./sights.ts";
import { isToken } from "./token.ts";

/** Browsers at a time. */
export const MOST_BROWSERS = 16;

/** How long a socket may take to show its token, and how many may do so at a time: the one that has waited longest goes. */
const TOKEN_MS = 5000;
const MOST_STRANGERS = 64;

/** A browser that answers no ping for so long is gone. */
const SILENCE_SECONDS = 120;

/** The largest message of a page. */
const MOST_RECEIVED = 64 * 1024;

/** A frame, and what is told besides. */
const MOST_QUEUED = MOST_SHOWN + 64 * 2 ** 20;

/** The page takes nothing from elsewhere, and nobody else may use or embed it. */
const HEADERS: Readonly<Record<string, string>> = {
  "Content-Security-Policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; base-uri 'none'; " +
    "form-action 'none'; frame-ancestors 'none'",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
  "Cache-Control": "no-store",
};

/** What a server serves. */
export interface ViewServerOptions {
  readonly endpoint: Endpoint;
  /** Other origins under which browsers may ask, such as `http://localhost:8080`. */
  readonly origins: readonly string[];
  readonly token: string;
  /** The files of the page, by their paths. */
  readonly files: ReadonlyMap<string, PageFile>;
  readonly browsers: Browsers;
  /** What a browser is told first. */
  welcome(): readonly ServerMessage[];
  /** The details of a buffer; undefined if there is none of this name. */
  details(name: string): object | undefined;
  /** The number of browsers has changed. */
  onChange(): void;
}

/** What is known of a socket. */
interface Connection {
  /** Undefined until it has shown the token. */
  browser: Browser | undefined;
  timer: Timer | undefined;
}

type Socket = Bun.ServerWebSocket<Connection>;

/** A server that listens until it is disposed of. */
export class ViewServer implements Disposable {
  readonly #options: ViewServerOptions;
  readonly #server: Bun.Server<Connection>;
  readonly #origins: ReadonlySet<string>;
  readonly #hosts: ReadonlySet<string>;
  readonly #sockets = new Set<Socket>();
  /** Those that have not shown the token, the oldest first. */
  readonly #strangers = new Set<Socket>();

  /** @throws CommandError IO_ERROR if the address cannot be listened on. */
  constructor(options: ViewServerOptions) {
    this.#options = options;
    const { host, port } = options.endpoint;
    try {
      this.#server = Bun.serve<Connection>({
        hostname: host,
        port,
        development: false,
        reusePort: false,
        maxRequestBodySize: MOST_RECEIVED,
        fetch: (request, server) => this.#answer(request, server),
        error: () => refusal(500, "This is a bug in zerobuffer."),
        websocket: {
          maxPayloadLength: MOST_RECEIVED,
          backpressureLimit: MOST_QUEUED,
          idleTimeout: SILENCE_SECONDS,
          perMessageDeflate: false,
          open: (socket) => this.#open(socket),
          message: (socket, message) => this.#receive(socket, message),
          drain: ({ data: { browser } }) => browser && options.browsers.drain(browser),
          close: (socket) => this.#close(socket),
        },
      });
    } catch (error) {
      throw notListening(options.endpoint, error);
    }
    this.#origins = new Set([this.origin, ...options.origins]);
    this.#hosts = new Set([...this.#origins].map((origin) => new URL(origin).host));
  }

  /** The address without the token. On all addresses of the machine it is that of the machine itself. */
  get origin(): string {
    const { host } = this.#options.endpoint;
    const own = { "0.0.0.0": "127.0.0.1", "::": "[::1]" }[host] ?? (host.includes(":") ? `[${host}]` : host);
    return new URL(`http://${own}:${this.#server.port}`).origin;
  }

  /** Tells the pages that it ends. */
  [Symbol.dispose](): void {
    for (const socket of this.#sockets) socket.close(CloseCode.ENDED, "zerobuffer view has ended");
    void this.#server.stop(true);
  }

  #answer(request: Request, server: Bun.Server<Connection>): Response | undefined {
    const { headers, method } = request;
    const origin = headers.get("origin");
    // Another name for this address is what a page has that was made to point here (DNS rebinding).
    if (!this.#hosts.has(headers.get("host") ?? ""))
      return refusal(403, "This is not the address that was printed.");
    if (origin !== null && !this.#origins.has(origin))
      return refusal(403, "Another page may not use this one.");
    const path = new URL(request.url).pathname;
    if (method !== "GET" && method !== "HEAD") return refusal(405, "Nothing can be changed here.");
    if (path === SOCKET_PATH) {
      if (origin === null) return refusal(403, "Only the page may use this.");
      const data = { browser: undefined, timer: undefined };
      return server.upgrade(request, { data }) ? undefined : refusal(400, "This is a WebSocket.");
    }
    if (path.startsWith(DETAILS_PATH)) return this.#details(path.slice(DETAILS_PATH.length), headers);
    const file = this.#options.files.get(path);
    if (file === undefined) return refusal(404, "There is no such file.");
    return new Response(file.text, { headers: { ...HEADERS, "Content-Type": file.type } });
  }

  #details(name: string, headers: Headers): Response {
    const [, token] = /^Bearer (.+)$/.exec(headers.get("authorization") ?? "") ?? [];
    if (!isToken(token, this.#options.token)) return refusal(401, "The token is wrong.");
    let details: object | undefined;
    try {
      details = this.#options.details(decodeURIComponent(name));
    } catch (error) {
      return refusal(400, systemReason(error));
    }
    return details === undefined
      ? refusal(404, "There is no such buffer.")
      : Response.json(details, { headers: HEADERS });
  }

  #open(socket: Socket): void {
    this.#sockets.add(socket);
    this.#strangers.add(socket);
    socket.data.timer = setTimeout(() => socket.close(CloseCode.REFUSED, "no token came"), TOKEN_MS);
    const [oldest] = this.#strangers;
    if (this.#strangers.size > MOST_STRANGERS) oldest?.terminate();
  }

  #receive(socket: Socket, text: string | Buffer): void {
    const message = parsed(text);
    const { browser } = socket.data;
    if (message === undefined) socket.close(CloseCode.REFUSED, "not understood");
    else if (browser === undefined) this.#admit(socket, message);
    else if ("ready" in message) this.#options.browsers.noteReady(browser, message.ready === true);
    else if ("ping" in message)
      browser.send({ type: "clock", ms: performance.timeOrigin + performance.now() });
  }

  #admit(socket: Socket, message: PageMessage): void {
    const { browsers, token, welcome, onChange } = this.#options;
    if (!("token" in message && isToken(message.token, token))) {
      socket.close(CloseCode.REFUSED, "the token is wrong");
      return;
    }
    if (browsers.count >= MOST_BROWSERS) {
      socket.close(CloseCode.FULL, `${MOST_BROWSERS} browsers are connected, which is the most`);
      return;
    }
    clearTimeout(socket.data.timer);
    this.#strangers.delete(socket);
    const browser = new Browser(socket);
    socket.data.browser = browser;
    browsers.add(browser);
    onChange();
    for (const one of welcome()) browser.send(one);
  }

  #close(socket: Socket): void {
    const { browser, timer } = socket.data;
    clearTimeout(timer);
    this.#sockets.delete(socket);
    this.#strangers.delete(socket);
    if (browser === undefined) return;
    this.#options.browsers.remove(browser);
    this.#options.onChange();
  }
}

/** What a page has sent; undefined if it is none of what pages send. */
function parsed(text: string | Buffer): PageMessage | undefined {
  if (typeof text !== "string") return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as PageMessage) : undefined;
  } catch {
    return undefined;
  }
}

function refusal(status: number, text: string): Response {
  return new Response(`${text}\n`, {
    status,
    headers: { ...HEADERS, "Content-Type": "text/plain; charset=utf-8" },
  });
}
