// What tests of bridges share: the two ends, and frames that tell their number.

import { Reader, Writer, WriterDeadError } from "../../src/core/index.ts";
import { bufferMade, pseudoRandom, uniqueName, WAIT_LIMIT_MS } from "./buffers.ts";
import type { NatsServer } from "./nats.ts";
import { Child, type ChildOptions } from "./process.ts";

/** The size of the rings of tests. */
export const RING = 4 * 2 ** 20;

/** Where a test's frames come from. */
const NOISE = pseudoRandom(2 ** 22);

/** Frame number `number`, from 1, of `size` bytes: no other has the same bytes. */
export function frameOf(number: number, size: number): Uint8Array {
  const frame = new Uint8Array(NOISE.subarray(number, number + size));
  if (size >= 4) new DataView(frame.buffer).setUint32(0, number, true);
  return frame;
}

/** The number of a frame of at least four bytes. */
export function numberOf(frame: Uint8Array): number {
  return new DataView(frame.buffer, frame.byteOffset, 4).getUint32(0, true);
}

/** Starts the command of a bridge with events, and with this server. */
export function startBridge(server: NatsServer, words: readonly string[], options: ChildOptions = {}): Child {
  return Child.cli(["bridge", ...words, "--json-lines"], {
    ...options,
    env: { NATS_URL: server.url, ...options.env },
  });
}

/** Waits for an event of a kind, and returns it. */
export async function eventOf(child: Child, kind: string, matching: Readonly<Record<string, unknown>> = {}) {
  for (;;) {
    const event = await child.receiveAny();
    if (event.event !== kind) continue;
    if (Object.entries(matching).every(([key, value]) => event[key] === value)) return event;
  }
}

/** The result of a command that was started with events, when it has ended. */
export async function resultOf(child: Child) {
  const { event: _, time: __, ...result } = await eventOf(child, "result");
  const { code, signal, stderr } = await child.exited();
  return { code, signal, stderr, result };
}

/** A publisher, and the writer of its buffer. */
export class Source implements AsyncDisposable {
  private constructor(
    readonly child: Child,
    readonly name: string,
    readonly writer: Writer,
  ) {}

  static async start(
    server: NatsServer,
    args: readonly string[] = [],
    { metadata, name = uniqueName(), ...options }: { metadata?: string; name?: string } & ChildOptions = {},
  ): Promise<Source> {
    const sizes = args.includes("--buffer-size") ? [] : ["--buffer-size", `${RING}`];
    const child = startBridge(server, ["publish", name, ...sizes, ...args], options);
    try {
      await child.receive("started");
      await child.receive("ready");
      const writer = await Writer.connect(name, {
        connectTimeoutMs: WAIT_LIMIT_MS,
        writeTimeout: WAIT_LIMIT_MS,
        ...(metadata !== undefined && { metadata: Buffer.from(metadata) }),
      });
      return new Source(child, name, writer);
    } catch (error) {
      await child[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Writes frames of these sizes, from this number on. */
  async write(sizes: readonly number[], from = 1): Promise<void> {
    for (const [i, size] of sizes.entries()) await this.writer.writeFrameAsync(frameOf(from + i, size));
  }

  /** Lets the writer leave, and waits for the end. */
  async end() {
    this.writer.close();
    return await resultOf(this.child);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.writer.close();
    await this.child[Symbol.asyncDispose]();
  }
}

/** A subscriber, and the reader of its buffer. */
export class Sink implements AsyncDisposable {
  private constructor(
    readonly child: Child,
    readonly name: string,
    readonly reader: Reader,
    readonly ownsReader: boolean,
  ) {}

  /** @param subject the buffer whose frames are received. */
  static async start(
    server: NatsServer,
    subject: string,
    args: readonly string[] = [],
    options: ChildOptions & { payloadSize?: number; metadataSize?: number; reader?: Reader } = {},
  ): Promise<Sink> {
    const { payloadSize = RING, metadataSize = 4096, reader, ...others } = options;
    const own = reader ?? new Reader(uniqueName(), { payloadSize, metadataSize });
    const { name } = own;
    await bufferMade(name);
    const words = ["subscribe", name, "--subject", `zerobuffer.${subject}`, ...args];
    const child = startBridge(server, words, others);
    const sink = new Sink(child, name, own, reader === undefined);
    try {
      await child.receive("started");
      return sink;
    } catch (error) {
      await sink[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Waits until it listens: its own reader has come. */
  async listens(): Promise<this> {
    await eventOf(this.child, "ready");
    return this;
  }

  /** The next frame, copied. */
  async next(): Promise<Uint8Array> {
    using frame = await this.reader.readFrameAsync(WAIT_LIMIT_MS);
    if (!frame.isValid) throw new Error("no frame has come");
    return frame.toArray();
  }

  /** The numbers of the frames until the subscriber leaves or dies; each must be as it was written, with the size for its number. */
  async numbers(sizeOf: (number: number) => number, most = Number.POSITIVE_INFINITY): Promise<number[]> {
    const numbers: number[] = [];
    try {
      while (numbers.length < most) {
        const frame = await this.next();
        const number = numberOf(frame);
        if (Buffer.compare(frame, frameOf(number, sizeOf(number))) !== 0)
          throw new Error(`frame ${number} of ${frame.length} bytes is another one than was written`);
        numbers.push(number);
      }
    } catch (error) {
      if (!(error instanceof WriterDeadError)) throw error;
    }
    return numbers;
  }

  get metadata(): string {
    return Buffer.from(this.reader.getMetadata()).toString();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.child[Symbol.asyncDispose]();
    if (this.ownsReader) this.reader.close();
  }
}

/** The numbers from 1, or from another one, to `last`. */
export function upTo(last: number, first = 1): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}
