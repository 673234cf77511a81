// Creates the two sides of duplex channels.

import type { BufferConfig } from "../config.ts";
import { DuplexClient } from "./client.ts";
import { ReconnectingClient } from "./reconnecting-client.ts";
import { ImmutableDuplexServer, MutableDuplexServer } from "./server.ts";
import type {
  ClientOptions,
  IDuplexChannelFactory,
  IDuplexClient,
  IImmutableDuplexServer,
  IMutableDuplexServer,
  Logger,
} from "./types.ts";

/** Creates servers and clients. `logger` receives messages of the servers: clients that come and go, requests that fail. */
export class DuplexChannelFactory implements IDuplexChannelFactory {
  static #instance: DuplexChannelFactory | undefined;
  readonly #logger: Logger | undefined;

  constructor({ logger }: { logger?: Logger | undefined } = {}) {
    this.#logger = logger;
  }

  /** The factory without a logger, always the same. */
  static getInstance(): DuplexChannelFactory {
    DuplexChannelFactory.#instance ??= new DuplexChannelFactory();
    return DuplexChannelFactory.#instance;
  }

  /** A server whose handler returns its responses. */
  createImmutableServer(channel: string, config?: BufferConfig): IImmutableDuplexServer {
    return new ImmutableDuplexServer(channel, config, this.#logger);
  }

  /** A server whose handler changes requests in place. */
  createMutableServer(channel: string, config?: BufferConfig): IMutableDuplexServer {
    return new MutableDuplexServer(channel, config, this.#logger);
  }

  /** Connects to a server, blocking for up to `connectTimeoutMs`. */
  createClient(channel: string, options?: ClientOptions): IDuplexClient {
    return options?.reconnect
      ? ReconnectingClient.open(channel, options)
      : DuplexClient.open(channel, options);
  }

  /** {@link createClient} without blocking the event loop. */
  connectClient(
    channel: string,
    options?: ClientOptions & { signal?: AbortSignal | undefined },
  ): Promise<IDuplexClient> {
    return options?.reconnect
      ? ReconnectingClient.connect(channel, options)
      : DuplexClient.connect(channel, options);
  }
}
