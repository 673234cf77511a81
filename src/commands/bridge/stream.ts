// A JetStream stream of frames: made or found, and how messages get into it.

import type { JetStreamClient, JetStreamManager, StreamConfig, StreamInfo } from "@nats-io/jetstream";
import { CommandError } from "../../cli/failure.ts";
import { HEADER_ROOM } from "../../frames/wire.ts";
import type { Broker } from "./broker.ts";
import { apiCode, isTemporary } from "./errors.ts";
import { Garbage, MOST_OLD_BYTES } from "./garbage.ts";
import type { Courier, Message } from "./outbox.ts";
import type { Subjects } from "./subjects.ts";

/** How long the server may take to store a message, in milliseconds. */
const STORE_MS = 10_000;

/** The pause between two attempts to find the stream, in milliseconds. */
export const RETRY_MS = 250;

/** How a stream is made. */
export interface StreamSettings {
  readonly name: string;
  readonly storage: "file" | "memory";
  readonly maxBytes: number | undefined;
  readonly maxAgeMs: number | undefined;
}

/** What a broker keeps for JetStream. Only this loads its client. */
export class JetStream {
  readonly client: JetStreamClient;
  readonly manager: JetStreamManager;
  readonly broker: Broker;

  private constructor(client: JetStreamClient, manager: JetStreamManager, broker: Broker) {
    this.client = client;
    this.manager = manager;
    this.broker = broker;
  }

  static async open(broker: Broker): Promise<JetStream> {
    const { jetstream, jetstreamManager } = await import("@nats-io/jetstream");
    const manager = await jetstreamManager(broker.connection, { checkAPI: false });
    return new JetStream(jetstream(broker.connection), manager, broker);
  }

  /** What is known of a stream; undefined if there is none. */
  async find(name: string): Promise<StreamInfo | undefined> {
    try {
      return await this.broker.race(this.manager.streams.info(name));
    } catch (error) {
      if (apiCode(error) === STREAM_NOT_FOUND) return undefined;
      throw error;
    }
  }
}

const STREAM_NOT_FOUND = 10059;

/** Stores messages in a stream. */
export class StreamCourier implements Courier {
  /** How many bytes and how much time it keeps, if it does not keep everything. */
  keeps: { readonly bytes: number; readonly ms: number } = {
    bytes: Number.POSITIVE_INFINITY,
    ms: Number.POSITIVE_INFINITY,
  };
  readonly #jetStream: JetStream;
  readonly #subjects: Subjects;
  readonly #settings: StreamSettings;
  readonly #onMade: (isAgain: boolean) => void;
  #mostBytes = Number.POSITIVE_INFINITY;
  #isKnown = false;
  /** Messages of which the server has not said that it has stored them. */
  #stored: Promise<unknown>[] = [];
  readonly #garbage = new Garbage(MOST_OLD_BYTES.sent);

  /** @param onMade is called when the stream was made; again, if it has gone with the server. */
  constructor(
    jetStream: JetStream,
    subjects: Subjects,
    settings: StreamSettings,
    onMade: (isAgain: boolean) => void,
  ) {
    this.#jetStream = jetStream;
    this.#subjects = subjects;
    this.#settings = settings;
    this.#onMade = onMade;
  }

  get room(): number {
    return Math.min(this.#jetStream.broker.maxPayload, this.#mostBytes) - HEADER_ROOM;
  }

  /** Makes the stream if there is none. */
  async prepare(): Promise<void> {
    const { name } = this.#settings;
    const info = (await this.#jetStream.find(name)) ?? (await this.#make());
    const { subjects, max_msg_size, max_bytes, max_age } = info.config;
    const { frames, metadata, end } = this.#subjects;
    const missing = [frames, metadata, end].find(
      (subject) => !subjects.some((pattern) => matches(pattern, subject)),
    );
    if (missing !== undefined) {
      throw new CommandError(
        "IO_ERROR",
        `Stream "${name}" does not keep the subject ${missing}, but ${subjects.join(", ")}.`,
        "Name another stream, or another --subject.",
      );
    }
    this.#mostBytes = max_msg_size > 0 ? max_msg_size : Number.POSITIVE_INFINITY;
    this.keeps = {
      bytes: max_bytes > 0 ? max_bytes : Number.POSITIVE_INFINITY,
      ms: max_age > 0 ? max_age / 1e6 : Number.POSITIVE_INFINITY,
    };
    this.#isKnown = true;
  }

  async #make(): Promise<StreamInfo> {
    const { name, storage, maxBytes, maxAgeMs } = this.#settings;
    const { frames, metadata, end } = this.#subjects;
    const config: Partial<StreamConfig> & { name: string } = {
      name,
      subjects: [frames, metadata, end],
      storage: storage as StreamConfig["storage"],
      ...(maxBytes !== undefined && { max_bytes: maxBytes }),
      ...(maxAgeMs !== undefined && { max_age: Math.round(maxAgeMs * 1e6) }),
    };
    const { broker, manager } = this.#jetStream;
    const info = await broker.race(manager.streams.add(config));
    this.#onMade(this.#isKnown);
    return info;
  }

  /** Waits until messages can be stored again after a failure. */
  async recover(): Promise<void> {
    const { broker } = this.#jetStream;
    // What was posted before is posted again: no answer to it is waited for.
    this.#stored = [];
    while (broker.isConnected) {
      try {
        return await this.prepare();
      } catch (error) {
        if (!isTemporary(error)) throw error;
        await broker.race(Bun.sleep(RETRY_MS));
      }
    }
  }

  post({ subject, data, headers, id }: Message): void {
    const { broker, client } = this.#jetStream;
    this.#garbage.note(data.length);
    const options = { headers: broker.headersOf(headers), msgID: id, timeout: STORE_MS };
    const stored = client.publish(subject, data, options);
    stored.catch(() => {});
    this.#stored.push(stored);
  }

  async settle(): Promise<void> {
    await Promise.all(this.#stored.splice(0));
  }
}

/** Whether a subject is one of those of a pattern. */
export function matches(pattern: string, subject: string): boolean {
  const [wanted, tokens] = [pattern.split("."), subject.split(".")];
  const isPrefix = wanted.at(-1) === ">";
  if (isPrefix ? tokens.length < wanted.length : tokens.length !== wanted.length) return false;
  return wanted.every((token, i) => token === "*" || token === tokens[i] || (token === ">" && isPrefix));
}
