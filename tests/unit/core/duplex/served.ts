// Duplex channels whose two sides are in this process: the server runs in the background of the same event loop.

import { OiebWord } from "../../../../src/core/buffer/oieb.ts";
import {
  type BufferConfig,
  type ClientOptions,
  DuplexChannelFactory,
  type DuplexResponse,
  type Frame,
  type IDuplexClient,
  type IDuplexServer,
  type IImmutableDuplexServer,
  type IMutableDuplexServer,
  type MutableRequestHandler,
  type ProcessingMode,
  type RequestHandler,
  type StartOptions,
} from "../../../../src/core/index.ts";
import { fieldOf, uniqueName, WAIT_LIMIT_MS } from "../../../support/buffers.ts";

export const SMALL = { metadataSize: 256, payloadSize: 256 * 1024 };
/** A ring for eight frames of a hundred bytes. */
export const TINY = { metadataSize: 0, payloadSize: 1024 };
export const TINY_FRAMES = 8;
export const factory = DuplexChannelFactory.getInstance();
export const echo: RequestHandler = (request) => request.data;

export interface ServeOptions extends StartOptions {
  channel?: string;
  config?: BufferConfig;
  mode?: ProcessingMode;
}

/** A server at work, and what it tells. */
export class Served<T extends IDuplexServer> implements Disposable {
  readonly channel: string;
  readonly server: T;
  readonly errors: { error: Error; sequence: number }[] = [];
  readonly metadata: string[] = [];
  /** Numbers of the requests that were cancelled. */
  readonly cancelled: number[] = [];
  stops = 0;

  constructor(channel: string, server: T, start: (server: T) => void) {
    this.channel = channel;
    this.server = server;
    server.onError = (error, sequence) => void this.errors.push({ error, sequence });
    server.onMetadata = (metadata) => void this.metadata.push(new TextDecoder().decode(metadata));
    server.onCancelled = (sequence) => void this.cancelled.push(sequence);
    server.onStop = () => void this.stops++;
    start(server);
  }

  /** Numbers of the requests that got no response. */
  get failed(): number[] {
    return this.errors.map(({ sequence }) => sequence);
  }

  connect(config: BufferConfig = SMALL, options: ClientOptions = {}): IDuplexClient {
    return factory.createClient(this.channel, { config, ...options });
  }

  [Symbol.dispose](): void {
    this.server.stop();
  }
}

export function serve(handler: RequestHandler, options: ServeOptions = {}): Served<IImmutableDuplexServer> {
  const { channel = uniqueName(), config = SMALL, mode, ...start } = options;
  return new Served(channel, factory.createImmutableServer(channel, config), (server) =>
    server.start(handler, mode, start),
  );
}

export function serveInPlace(
  handler: MutableRequestHandler,
  options: ServeOptions = {},
): Served<IMutableDuplexServer> {
  const { channel = uniqueName(), config = SMALL, mode, ...start } = options;
  return new Served(channel, factory.createMutableServer(channel, config), (server) =>
    server.start(handler, mode, start),
  );
}

/** The next response to what was sent, without blocking the event loop that the server needs. */
export async function received(client: IDuplexClient): Promise<DuplexResponse> {
  for (;;) {
    const response = client.receiveResponse(0);
    if (response.isValid) return response;
    await turn();
  }
}

/** Number and bytes of the next response. */
export async function receivedBytes(client: IDuplexClient): Promise<[number, Uint8Array]> {
  using response = await received(client);
  return [response.sequence, response.toArray()];
}

/** The bytes of a request's response; undefined after the timeout. */
export async function answerTo(
  client: IDuplexClient,
  data: Uint8Array,
  timeoutMs = WAIT_LIMIT_MS,
): Promise<Uint8Array | undefined> {
  using response = await client.request(data, { timeoutMs });
  return response.isValid ? response.toArray() : undefined;
}

/** Lets the event loop look at everything that waits. */
export async function turn(): Promise<void> {
  await Bun.sleep(1);
}

export async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await turn();
}

/** A word of the control block of one of a channel's buffers; undefined if it is not there. */
export function wordOf(
  channel: string,
  side: "request" | "response",
  word: keyof typeof OiebWord,
): bigint | undefined {
  return fieldOf(`${channel}_${side}`, 8 * OiebWord[word]);
}

/** Something that others wait for. */
export function gate(): { opened: Promise<void>; open: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { opened: promise, open: resolve };
}

/** Counts the handlers at work. */
export class Shift {
  now = 0;
  most = 0;
  started = 0;

  /** An echo that takes as long as `work`. */
  readonly handler =
    (work: (request: Frame) => Promise<unknown>): RequestHandler =>
    async (request) => {
      this.started++;
      this.most = Math.max(this.most, ++this.now);
      await work(request);
      this.now--;
      return request.data;
    };
}
