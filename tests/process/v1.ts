// Peers of version 1: fixtures/v1-peer.c.

import { fieldOf } from "../support/buffers.ts";
import { Child, type ChildOptions } from "../support/process.ts";
import { compileFixture } from "./compiled.ts";

/** The steps of a reader that makes its buffer, unless it does so `at-once`. */
export const STEPS = ["locked", "opened", "sized", "filled", "claimed"] as const;

interface Options extends Pick<ChildOptions, "within" | "env"> {
  frames?: number;
  largest?: number;
  /** The words in front of its command, such as those that make it another user's. */
  as?: readonly string[];
  /** In what it differs from other implementations: the options of v1-peer.c. */
  manners?: readonly string[];
}

/** The tokens of written frames. */
export function tokensOf(name: string): number {
  return Number(BigInt.asUintN(32, fieldOf(`sem.sem-w-${name}`, 0) ?? 0n));
}

/** Starts them. */
export class V1 {
  readonly program: string;

  private constructor(program: string) {
    this.program = program;
  }

  static async build(): Promise<V1> {
    return new V1(await compileFixture("v1-peer.c", "v1-buffer.c"));
  }

  writer(name: string, options: Options = {}): Child {
    return this.#start("writer", name, [], options);
  }

  /** A reader that stops at each of the {@link STEPS}. */
  steppingReader(name: string, payloadSize: number, options: Options = {}): Child {
    return this.#start("reader", name, [`${payloadSize}`], options);
  }

  /** A reader that has made its buffer. */
  async reader(name: string, payloadSize: number, options: Options = {}): Promise<Child> {
    const manners = ["at-once", ...(options.manners ?? [])];
    const reader = this.steppingReader(name, payloadSize, { ...options, manners });
    await reader.receive("ready");
    return reader;
  }

  /** The client of a duplex channel whose requests have `largest` bytes. */
  client(channel: string, payloadSize: number, options: Options = {}): Child {
    return this.#start("client", channel, [`${payloadSize}`, "at-once"], options);
  }

  #start(role: string, name: string, words: readonly string[], options: Options): Child {
    const { frames = 0, largest = 1000, as = [], manners = [], ...rest } = options;
    const command = [this.program, role, name, `${frames}`, `${largest}`, ...words, ...manners];
    return Child.program([...as, ...command], rest);
  }
}
