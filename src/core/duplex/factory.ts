// Makes the two sides of duplex channels.

import type { BufferConfig } from "../config.ts";
import { DuplexClient } from "./client.ts";
import { ImmutableDuplexServer, MutableDuplexServer } from "./server.ts";
import type {
  ClientOptions,
  IDuplexChannelFactory,
  IDuplexClient,
  IImmutableDuplexServer,
  IMutableDuplexServer,
  Logger,
} from "./types.ts";

/** Makes servers and clients; servers tell `logger` who comes and goes, and what fails. */
export class DuplexChannelFactory implements IDuplexChannelFactory {
  static #instance: DuplexChannelFactory | undefined;
  readonly #logger: Logger | undefined;

  constructor({ logger }: { logger?: Logger | undefined } = {}) {
    this.#logger = logger;
  }

  /** The factory without a logger. */
  static getInstance(): DuplexChannelFactory {
    DuplexChannelFactory.#instance ??= new DuplexChannelFactory();
    return DuplexChannelFactory.#instance;
  }

  createImmutableServer(channel: string, config?: BufferConfig): IImmutableDuplexServer {
    return new ImmutableDuplexServer(channel, config, this.#logger);
  }

  createMutableServer(channel: string, config?: BufferConfig): IMutableDuplexServer {
    return new MutableDuplexServer(channel, config, this.#logger);
  }

  createClient(channel: string, options?: ClientOptions): IDuplexClient {
    return DuplexClient.open(channel, options);
  }

  connectClient(
    channel: string,
    options?: ClientOptions & { signal?: AbortSignal | undefined },
  ): Promise<IDuplexClient> {
    return DuplexClient.connect(channel, options);
  }
}
