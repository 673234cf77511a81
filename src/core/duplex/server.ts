// The two kinds of duplex server: what a program starts, stops and is told by.

import { buffersOf } from "../buffer/names.ts";
import { type BufferConfig, checkCount } from "../config.ts";
import { ClosedError } from "../errors.ts";
import { Service, Statistics, type Task } from "./service.ts";
import {
  type IDuplexServer,
  type IImmutableDuplexServer,
  type IMutableDuplexServer,
  type Logger,
  type MutableRequestHandler,
  ProcessingMode,
  type RequestHandler,
  type ServerStatistics,
  type StartOptions,
} from "./types.ts";

/** How many handlers of a thread pool run at once by default. */
const DEFAULT_CONCURRENCY = 16;

/** What both kinds of server have in common. */
abstract class DuplexServer implements IDuplexServer {
  onError: ((error: Error, sequence: number) => void) | undefined;
  onCancelled: ((sequence: number) => void) | undefined;
  onClient: ((change: "came" | "left" | "died") => void) | undefined;
  onMetadata: ((metadata: Uint8Array) => void) | undefined;
  onStop: (() => void) | undefined;
  readonly #channel: string;
  readonly #config: BufferConfig | undefined;
  readonly #logger: Logger | undefined;
  #service: Service | undefined;
  #statistics: ServerStatistics = new Statistics();

  constructor(channel: string, config?: BufferConfig, logger?: Logger) {
    buffersOf(channel);
    this.#channel = channel;
    this.#config = config;
    this.#logger = logger;
  }

  get isRunning(): boolean {
    return this.#service !== undefined;
  }

  get statistics(): ServerStatistics {
    return this.#statistics;
  }

  get metadata(): Uint8Array {
    return this.#service?.metadata ?? new Uint8Array(0);
  }

  stop(): void {
    this.#service?.stop();
  }

  /** As {@link stop}. */
  [Symbol.dispose](): void {
    this.stop();
  }

  protected launch(
    how: Pick<Task, "handle" | "isInPlace">,
    mode: ProcessingMode,
    { concurrency = DEFAULT_CONCURRENCY, limit = Number.POSITIVE_INFINITY, blocks = false }: StartOptions,
  ): void {
    if (this.isRunning) {
      throw new ClosedError(`The server of channel "${this.#channel}" is running already.`, {
        buffer: this.#channel,
        hint: "Call stop() first.",
      });
    }
    checkCount("concurrency", concurrency);
    if (limit !== Number.POSITIVE_INFINITY) checkCount("limit", limit);
    const atOnce = mode === ProcessingMode.THREAD_POOL ? concurrency : 1;
    const task = { ...how, concurrency: atOnce, limit, blocks };
    const service = new Service(this.#channel, this.#config, task, {
      info: (message) => callUser(() => this.#logger?.info(message())),
      warn: (message) => callUser(() => this.#logger?.warn(message())),
      failed: (error, sequence) => callUser(() => this.onError?.(error, sequence)),
      cancelled: (sequence) => callUser(() => this.onCancelled?.(sequence)),
      clientChanged: (change) => callUser(() => this.onClient?.(change)),
      receivedMetadata: (metadata) => callUser(() => this.onMetadata?.(metadata)),
      ended: () => {
        this.#service = undefined;
        callUser(() => this.onStop?.());
      },
    });
    this.#service = service;
    this.#statistics = service.statistics;
    void service.run();
  }
}

/** Runs code of the program. What that throws must not end the service: it ends the program, as an uncaught error. */
function callUser(callback: () => void): void {
  try {
    callback();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

/** A server whose responses are bytes of their own. */
export class ImmutableDuplexServer extends DuplexServer implements IImmutableDuplexServer {
  start(
    handler: RequestHandler,
    mode: ProcessingMode = ProcessingMode.SINGLE_THREAD,
    options: StartOptions = {},
  ): void {
    this.launch({ handle: handler, isInPlace: false }, mode, options);
  }
}

/** A server whose responses are the requests, changed in place. */
export class MutableDuplexServer extends DuplexServer implements IMutableDuplexServer {
  start(
    handler: MutableRequestHandler,
    mode: ProcessingMode = ProcessingMode.SINGLE_THREAD,
    options: StartOptions = {},
  ): void {
    const handle: RequestHandler = (request, context) => {
      const done = handler(request, context);
      return done instanceof Promise ? done.then(() => request.data) : request.data;
    };
    this.launch({ handle, isInPlace: true }, mode, options);
  }
}
