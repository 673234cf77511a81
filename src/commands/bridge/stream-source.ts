// Messages that a stream keeps, pulled in its order from a position on: that of a durable consumer outlives the subscriber.

import type {
  Consumer,
  ConsumerConfig,
  ConsumerInfo,
  ConsumerMessages,
  JsMsg,
  StreamInfo,
} from "@nats-io/jetstream";
import { CommandError } from "../../cli/failure.ts";
import type { Session } from "../../cli/session.ts";
import { type Mark, readMark, readPart } from "../../frames/wire.ts";
import { apiCode, isTemporary } from "./errors.ts";
import { readArrival } from "./messages.ts";
import { NO_HEADERS, type Receiver } from "./receiver.ts";
import { type JetStream, RETRY_MS } from "./stream.ts";
import type { Subjects } from "./subjects.ts";

/** Bytes to pull at once, and how long to wait for them, in milliseconds. */
const PULL_BYTES = 16 * 2 ** 20;
const PULL_MS = 5000;

/** How many messages the client asks for at once if it is told how many bytes. It does not notice that all of them have come. */
const PULL_MESSAGES = 100;

/** How long the server remembers a consumer without a subscriber, and one that is durable does not send again, in milliseconds. */
const FORGET_MS = 5 * 60_000;

/** How long the end may take, in milliseconds. */
const GOODBYE_MS = 100;

const CONSUMER_NOT_FOUND = 10014;

/** Where to start: with new messages, at the first or last frame, at a sequence number of the stream, or at a time. */
export type Start = "new" | "first" | "last" | number | Date;

/** What to read, and from where. */
interface StreamSourceOptions {
  readonly stream: string;
  readonly durable: string | undefined;
  readonly start: Start;
  /** How long to wait for the stream. */
  readonly connectTimeoutMs: number;
}

/** Pulls messages, and confirms those whose frames were written. */
export class StreamSource {
  readonly #jetStream: JetStream;
  readonly #subjects: Subjects;
  readonly #options: StreamSourceOptions;
  readonly #receiver: Receiver;
  readonly #session: Session;
  readonly #isOver: () => boolean;
  /** Sequence number, in the stream, of the first message that is not done with; undefined: what comes first. */
  #position: number | undefined;
  #consumer: Consumer | undefined;
  #name: string | undefined;
  #running: Promise<void> | undefined;
  #batch: ConsumerMessages | undefined;
  #isBusy = false;
  /** Messages that the server still has for this subscriber. */
  #pending = 0;
  /** Number of the last message that the consumer has delivered, to anyone. */
  #delivered = 0;
  #isShared = false;

  constructor(
    jetStream: JetStream,
    subjects: Subjects,
    options: StreamSourceOptions,
    receiver: Receiver,
    session: Session,
    isOver: () => boolean,
  ) {
    this.#jetStream = jetStream;
    this.#subjects = subjects;
    this.#options = options;
    this.#receiver = receiver;
    this.#session = session;
    this.#isOver = isOver;
    // What was pulled before is pulled again, from the position on.
    jetStream.broker.onLost.push(() => {
      this.#consumer = undefined;
      this.#batch?.stop();
    });
  }

  /** Whether everything that the stream has is written. */
  get isIdle(): boolean {
    return !this.#isBusy && this.#pending === 0 && this.#consumer !== undefined;
  }

  /** Whether another subscriber uses the same durable consumer. */
  get isShared(): boolean {
    return this.#isShared;
  }

  /** Finds the position to start from. */
  async open(): Promise<void> {
    const { broker } = this.#jetStream;
    const { stream, connectTimeoutMs } = this.#options;
    const deadline = performance.now() + connectTimeoutMs;
    for (;;) {
      const info = await this.#jetStream.find(stream);
      if (info !== undefined) return await this.#start(info);
      if (performance.now() > deadline) {
        throw new CommandError(
          "PEER_TIMEOUT",
          `There is no stream "${stream}" after ${connectTimeoutMs} ms.`,
          `Start zerobuffer bridge publish --stream ${stream}, or raise --connect-timeout-ms (0: wait forever).`,
        );
      }
      await broker.race(Bun.sleep(RETRY_MS));
    }
  }

  /** Starts to deliver messages, until there are enough. */
  run(): void {
    this.#running = this.#run();
    this.#running.catch((error) => this.#jetStream.broker.fail(error));
  }

  /** Lets the server know what was written, as far as it can be told at once. */
  async close(): Promise<void> {
    const { broker } = this.#jetStream;
    this.#batch?.stop();
    const goodbye = async () => {
      await this.#running?.catch(() => {});
      if (broker.isConnected) await broker.connection.flush();
    };
    await Promise.race([goodbye(), Bun.sleep(GOODBYE_MS)]).catch(() => {});
  }

  async #run(): Promise<void> {
    const { broker } = this.#jetStream;
    while (!this.#isOver()) {
      try {
        this.#consumer ??= await this.#attach();
        await this.#pull(this.#consumer);
      } catch (error) {
        if (!isTransient(error)) throw error;
        this.#session.log?.info(`Pulling from the stream again: ${(error as Error).message}.`);
        this.#consumer = undefined;
        await broker.race(Bun.sleep(RETRY_MS));
      }
      if (!broker.isConnected) await broker.race(this.#connected());
    }
  }

  #connected(): Promise<void> {
    const { broker } = this.#jetStream;
    return new Promise((resolve) => broker.onBack.push(resolve));
  }

  async #pull(consumer: Consumer): Promise<void> {
    const { broker } = this.#jetStream;
    // A message may be as large as the server takes.
    const maxBytes = Math.max(PULL_BYTES, 2 * broker.maxPayload);
    const batch = await broker.race(consumer.fetch({ max_bytes: maxBytes, expires: PULL_MS }));
    this.#batch = batch;
    let taken = 0;
    try {
      for await (const message of batch) {
        await this.#take(message);
        if (this.#isOver() || ++taken === PULL_MESSAGES) break;
      }
    } catch (error) {
      if (!isEndOfPull(error)) throw error;
    } finally {
      this.#batch = undefined;
    }
  }

  async #take(message: JsMsg): Promise<void> {
    const { streamSequence, deliverySequence, pending } = message.info;
    this.#noteDelivery(deliverySequence);
    const { subject } = message;
    const isOurs = [this.#subjects.frames, this.#subjects.metadata, this.#subjects.end].includes(subject);
    const arrival = isOurs ? readArrival(message, this.#subjects) : undefined;
    this.#isBusy = true;
    if (arrival !== undefined) {
      const work = this.#receiver.take(arrival);
      if (work !== undefined) await this.#jetStream.broker.race(work);
    } else if (isOurs) {
      this.#receiver.refuse(NO_HEADERS);
    }
    this.#isBusy = false;
    this.#pending = pending;
    this.#jetStream.broker.garbage.note(message.data.length);
    // The parts of a frame are confirmed together, by the last one.
    if (this.#receiver.isOpen) return;
    this.#position = Math.max(this.#position ?? 0, streamSequence + 1);
    if (this.#options.durable !== undefined) message.ack();
  }

  /** A consumer counts what it delivers: a number that is missing went to another subscriber. */
  #noteDelivery(sequence: number): void {
    const { durable } = this.#options;
    const isGap = sequence > this.#delivered + 1;
    this.#delivered = sequence;
    if (durable === undefined || !isGap || this.#isShared) return;
    this.#isShared = true;
    this.#receiver.share();
    this.#session.log?.warn(
      `Another subscriber uses the durable consumer "${durable}": each gets some of the messages, and frames are torn.`,
    );
  }

  // ---- the position ------------------------------------------------------------------------------------------------

  async #start(info: StreamInfo): Promise<void> {
    const { durable, start } = this.#options;
    const { first_seq, last_seq } = info.state;
    const resumed = durable === undefined ? undefined : await this.#positionOf(durable);
    if (resumed !== undefined) {
      this.#position = resumed;
      const last = await this.#markAt(resumed - 1);
      if (last !== undefined) this.#receiver.resume(last);
    } else if (start === "new") this.#position = last_seq + 1;
    else if (start === "first") this.#position = Math.max(1, first_seq);
    else if (start === "last") this.#position = await this.#lastFrame(last_seq + 1);
    else if (typeof start === "number") this.#position = start;
    if (this.#position === undefined) this.#consumer = await this.#attach();
    const metadata = await this.#metadataBefore(this.#position ?? last_seq + 1);
    if (metadata !== undefined && metadata.length > 0) this.#receiver.prepare(metadata);
    this.#session.log?.info(`Reading stream "${info.config.name}" from message ${this.#position} on.`);
  }

  /** Where the subscriber of a durable consumer stopped; undefined if nobody knows it. */
  async #positionOf(durable: string): Promise<number | undefined> {
    const info = (await this.#find(durable)) ?? (await this.#find(guardOf(durable)));
    return info && nextOf(info);
  }

  async #find(name: string): Promise<ConsumerInfo | undefined> {
    const { broker, manager } = this.#jetStream;
    try {
      return await broker.race(manager.consumers.info(this.#options.stream, name));
    } catch (error) {
      if (apiCode(error) === CONSUMER_NOT_FOUND) return undefined;
      throw error;
    }
  }

  /** What the message at a position says of its frame, if that is whole there. */
  async #markAt(sequence: number): Promise<Mark | undefined> {
    const message = await this.#messageAt({ seq: sequence });
    if (message === undefined) return undefined;
    const header = (name: string) => message.header?.get(name) ?? "";
    const part = readPart(header, message.data.length);
    if (message.subject === this.#subjects.frames) return part?.part === part?.parts ? part : undefined;
    return message.subject === this.#subjects.metadata ? readMark(header) : undefined;
  }

  async #messageAt(
    query: { seq: number } | { last_by_subj: string } | { seq: number; next_by_subj: string },
  ) {
    const { broker, manager } = this.#jetStream;
    if ("seq" in query && query.seq < 1) return undefined;
    return (await broker.race(manager.streams.getMessage(this.#options.stream, query))) ?? undefined;
  }

  /** Where the last frame begins. */
  async #lastFrame(otherwise: number): Promise<number> {
    const last = await this.#messageAt({ last_by_subj: this.#subjects.frames });
    if (last === undefined) return otherwise;
    const markOf = ({ header, data }: { header?: typeof last.header; data: Uint8Array }) =>
      readPart((name) => header?.get(name) ?? "", data.length);
    const wanted = markOf(last);
    let first = last.seq;
    for (let part = wanted?.part ?? 1, at = last.seq - 1; part > 1 && at >= 1; at--) {
      const message = await this.#messageAt({ seq: at });
      const mark = message?.subject === this.#subjects.frames ? markOf(message) : undefined;
      if (message === undefined) break;
      if (mark?.run !== wanted?.run || mark?.sequence !== wanted?.sequence) continue;
      part = mark?.part ?? 1;
      first = at;
    }
    return first;
  }

  /** The metadata that belongs to the frames from a position on. */
  async #metadataBefore(position: number): Promise<Uint8Array | undefined> {
    const subject = this.#subjects.metadata;
    let found = await this.#messageAt({ last_by_subj: subject });
    if (found === undefined || found.seq < position) return found?.data;
    found = undefined;
    for (let from = 1; ; ) {
      const next = await this.#messageAt({ seq: from, next_by_subj: subject });
      if (next === undefined || next.seq >= position) return found?.data;
      found = next;
      from = next.seq + 1;
    }
  }

  // ---- the consumer ------------------------------------------------------------------------------------------------

  /** Makes a consumer that delivers from the position on, and nothing twice that is confirmed. */
  async #attach(): Promise<Consumer> {
    const { broker, client, manager } = this.#jetStream;
    const { stream, durable } = this.#options;
    const info = await this.#jetStream.find(stream);
    if (info === undefined) throw new TransientError(`there is no stream "${stream}"`);
    const { first_seq, last_seq } = info.state;
    if (this.#position !== undefined && this.#position > last_seq + 1) {
      this.#session.log?.warn(`Stream "${stream}" has lost what it kept: reading what it has now.`);
      this.#position = Math.max(1, first_seq);
    }
    if (durable !== undefined) {
      const known = await this.#find(durable);
      const isInUse = (known?.num_waiting ?? 0) > 0;
      const isThere = known !== undefined && nextOf(known) === this.#position && known.num_ack_pending === 0;
      if (!isThere && !isInUse) await this.#place(durable, known !== undefined);
      this.#name = durable;
    } else {
      const made = await broker.race(
        manager.consumers.add(stream, { ...this.#config("none"), inactive_threshold: nanos(FORGET_MS) }),
      );
      this.#name = made.name;
      this.#position ??= nextOf(made);
    }
    const consumer = await broker.race(client.consumers.get(stream, this.#name));
    const now = await broker.race(consumer.info(true));
    this.#position ??= nextOf(now);
    this.#pending = now.num_pending;
    this.#delivered = now.delivered.consumer_seq;
    return consumer;
  }

  /** Puts a durable consumer to the position. While it is away, another one keeps the place, in case that this process is killed. */
  async #place(durable: string, isKnown: boolean): Promise<void> {
    const { broker, manager } = this.#jetStream;
    const { stream } = this.#options;
    const guard = guardOf(durable);
    const config = this.#config("all");
    await broker.race(
      manager.consumers.add(stream, { ...config, durable_name: guard }).catch(async (error) => {
        // One is left of a process that was killed: it may be at another place.
        await manager.consumers.delete(stream, guard);
        await manager.consumers.add(stream, { ...config, durable_name: guard });
        this.#session.log?.info(`Replaced the consumer "${guard}": ${error.message}.`);
      }),
    );
    if (isKnown) await broker.race(manager.consumers.delete(stream, durable));
    await broker.race(manager.consumers.add(stream, { ...config, durable_name: durable }));
    await broker.race(manager.consumers.delete(stream, guard));
  }

  #config(acknowledge: "all" | "none"): Partial<ConsumerConfig> {
    const { start } = this.#options;
    const config = {
      ack_policy: acknowledge as ConsumerConfig["ack_policy"],
      ...(acknowledge === "all" && { max_ack_pending: -1, ack_wait: nanos(FORGET_MS) }),
    };
    if (this.#position !== undefined)
      return {
        ...config,
        deliver_policy: "by_start_sequence" as ConsumerConfig["deliver_policy"],
        opt_start_seq: this.#position,
      };
    return {
      ...config,
      deliver_policy: "by_start_time" as ConsumerConfig["deliver_policy"],
      opt_start_time: start instanceof Date ? start.toISOString() : new Date().toISOString(),
    };
  }
}

/** Something that a later attempt may find as it should be. */
class TransientError extends Error {}

function isTransient(error: unknown): boolean {
  if (error instanceof TransientError || isTemporary(error)) return true;
  const name = error instanceof Error ? error.name : "";
  return (
    [
      "JetStreamError",
      "JetStreamStatusError",
      "ConsumerNotFoundError",
      "StreamNotFoundError",
      "ConnectionError",
    ].includes(name) || apiCode(error) === CONSUMER_NOT_FOUND
  );
}

/** Whether a pull has ended because the next message would have been too many bytes. */
function isEndOfPull(error: unknown): boolean {
  return error instanceof Error && /exceeds maxbytes/i.test(error.message);
}

/** The message that a consumer delivers next if nothing that it has delivered is confirmed any more. */
function nextOf({ ack_floor, config, delivered }: ConsumerInfo): number {
  const confirmed = config.ack_policy === "none" ? delivered.stream_seq : ack_floor.stream_seq;
  return Math.max(confirmed + 1, config.opt_start_seq ?? 1);
}

function guardOf(durable: string): string {
  return `${durable}-next`;
}

function nanos(milliseconds: number): number {
  return milliseconds * 1e6;
}

/** Where `--start` says to start; undefined if it says nothing that can be understood. */
export function parseStart(text: string): Start | undefined {
  if (text === "new" || text === "first" || text === "last") return text;
  if (/^[1-9]\d{0,15}$/.test(text)) return Number(text);
  const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d/.test(text) ? new Date(text) : undefined;
  return time !== undefined && Number.isFinite(time.getTime()) ? time : undefined;
}
