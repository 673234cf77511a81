// How the asking side of a duplex channel connects: first to the buffer of requests, then with one of its own for the responses.

import { OiebFlag } from "../../native/memory.ts";
import { sleep } from "../../native/process.ts";
import { raceAbort } from "../../runtime/abort.ts";
import { buffersOf, type ChannelBuffers } from "../buffer/names.ts";
import { readerOf } from "../buffer/stale.ts";
import { type BufferConfig, checkTimeout, DEFAULT_PAYLOAD_SIZE } from "../config.ts";
import { WriterAlreadyConnectedError } from "../errors.ts";
import { checkHelper } from "../failures.ts";
import { Reader } from "../reader.ts";
import { Writer } from "../writer.ts";
import type { ClientOptions } from "./types.ts";

/** The pause before the next attempt to connect. */
const RETRY_MS = 5;

/** Both ends of a client. */
export interface Ends {
  readonly requests: Writer;
  readonly responses: Reader;
}

/** Connects, blocking the thread for up to `connectTimeoutMs`. */
export function connect(channel: string, options: ClientOptions): Ends {
  const attempts = new Attempts(channel, options.connectTimeoutMs);
  for (;;) {
    try {
      const requests = attempts.keep(new Writer(attempts.buffers.requests, attempts.begin()));
      const { config, ...how } = responseBuffer(requests, options);
      return { requests, responses: new Reader(attempts.buffers.responses, config, how) };
    } catch (error) {
      attempts.fail(error);
      if (!sleep(RETRY_MS)) throw error;
    }
  }
}

/** {@link connect} without blocking the event loop. Rejects with the reason of an aborted signal. */
export async function connectAsync(
  channel: string,
  options: ClientOptions & { signal?: AbortSignal | undefined },
): Promise<Ends> {
  const { signal } = options;
  const attempts = new Attempts(channel, options.connectTimeoutMs);
  const { buffers } = attempts;
  for (;;) {
    try {
      const connecting = Writer.connect(buffers.requests, { ...attempts.begin(), signal });
      const requests = attempts.keep(await connecting);
      const { config, ...how } = responseBuffer(requests, options);
      return { requests, responses: await Reader.create(buffers.responses, config, { ...how, signal }) };
    } catch (error) {
      attempts.fail(error);
    }
    await raceAbort(Bun.sleep(RETRY_MS), signal);
  }
}

/**
 * What the response buffer is like. Its ring by default has room for responses that are as large as requests. A table of
 * cancelled requests is made only for a server that looks at it.
 */
function responseBuffer(requests: Writer, { config, allowPayloadSharing }: ClientOptions) {
  const payloadSize = Math.max(DEFAULT_PAYLOAD_SIZE, requests.config.payloadSize);
  return {
    config: { payloadSize, ...config } satisfies BufferConfig,
    flags: OiebFlag.ANY_SEQUENCE | (requests.loadOieb().flags & OiebFlag.CANCELLATION),
    allowPayloadSharing,
  };
}

/** How long a client tries to connect, and what keeps it trying. */
class Attempts {
  readonly buffers: ChannelBuffers;
  readonly #channel: string;
  readonly #deadline: number;
  #requests: Writer | undefined;

  constructor(channel: string, connectTimeoutMs = 0) {
    checkTimeout("connectTimeoutMs", connectTimeoutMs);
    this.buffers = buffersOf(channel);
    checkHelper();
    this.#channel = channel;
    this.#deadline = performance.now() + connectTimeoutMs;
  }

  /**
   * Begins the next one. Throws if another client has the channel. A client of version 1 makes its response buffer before it
   * connects: it must not see that this one has come and gone.
   *
   * @returns how long it may take: the rest of the time for connecting.
   */
  begin(): { connectTimeoutMs: number } {
    this.#checkFree();
    return { connectTimeoutMs: Math.max(0, this.#deadline - performance.now()) };
  }

  #checkFree(): void {
    const pid = readerOf(this.buffers.responses);
    if (pid === undefined) return;
    const who = pid === 0n ? "" : ` (process ${pid})`;
    throw new WriterAlreadyConnectedError(`Channel "${this.#channel}" has a client already${who}.`, {
      buffer: this.buffers.responses,
      hint: "A channel has one client: end the other one, or use another name.",
    });
  }

  /** Keeps the writer of an attempt, to close it if the attempt fails. */
  keep(requests: Writer): Writer {
    this.#requests = requests;
    return requests;
  }

  /** Ends a failed attempt. Throws its error, unless the client that has the channel may leave in time. */
  fail(error: unknown): void {
    this.#requests?.close();
    const isTaken = error instanceof WriterAlreadyConnectedError && error.buffer === this.buffers.responses;
    if (!isTaken || performance.now() >= this.#deadline) throw error;
  }
}
