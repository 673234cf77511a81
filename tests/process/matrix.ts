// One side of a buffer, of ours or of version 1, inside or outside of a container, and what becomes of it: the cases of
// containers.test.ts and containers.slow.test.ts.

import { expect } from "bun:test";
import { bufferFull, uniqueName } from "../support/buffers.ts";
import { beside, container, containerWithoutTmp, numbersOf } from "../support/containers.ts";
import { Child } from "../support/process.ts";
import { startReader, startWriter } from "./peers.ts";
import type { V1 } from "./v1.ts";

type Role = "reader" | "writer";
type Kind = "ours" | "version 1";
type Fate = "lives" | "is killed" | "is stopped" | "leaves";

/** Where both run, as the words in front of their commands. */
interface Place {
  readonly text: string;
  readonly subject: readonly string[];
  readonly other: readonly string[];
}

const OUTSIDE: readonly string[] = [];

const places: readonly Place[] = [
  { text: "in the same pid namespace", subject: OUTSIDE, other: OUTSIDE },
  ...[
    { where: "", inside: container },
    { where: ", without a common /tmp", inside: containerWithoutTmp },
  ].flatMap(({ where, inside }) => [
    { text: `in a container, its peer outside${where}`, subject: inside, other: OUTSIDE },
    { text: `outside, its peer in a container${where}`, subject: OUTSIDE, other: inside },
    { text: `as process 1 of a container, like its peer${where}`, subject: inside, other: inside },
  ]),
];

/** The subject of a case; its peer is one of ours. */
export interface Case {
  readonly title: string;
  readonly role: Role;
  readonly kind: Kind;
  readonly place: Place;
  readonly fate: Fate;
}

const roles: readonly Role[] = ["reader", "writer"];
const kinds: readonly Kind[] = ["ours", "version 1"];
const fates: readonly Fate[] = ["lives", "is killed", "is stopped", "leaves"];

export const allCases: readonly Case[] = roles.flatMap((role) =>
  kinds.flatMap((kind) =>
    places.flatMap((place) =>
      fates.map((fate) => ({
        title: `a ${role} of ${kind} ${place.text}, that ${fate}`,
        ...{ role, kind, place, fate },
      })),
    ),
  ),
);

/** Each subject with each fate once, and with each place but the common one. */
export const fewCases: readonly Case[] = roles.flatMap((role, i) =>
  kinds.flatMap((kind, j) =>
    fates.map((fate, k) => {
      const place = places[1 + ((i * 8 + j * 5 + k) % (places.length - 1))];
      return allCases.find(
        (one) => one.role === role && one.kind === kind && one.place === place && one.fate === fate,
      )!;
    }),
  ),
);

/** How soon a peer's death or departure has to be told. */
const NOTICED_MS = 1000;
/** The same of a writer of version 1, which may be another one's that was refused. */
const LEFT_MS = 2000;
/** Longer than the time within which a death would be told. */
const STANDSTILL_MS = 1300;

const stream = { largest: 1000, sizes: "mixed" } as const;
const PAYLOAD_SIZE = 65_536;
const FRAMES = 200;

/** One side at work. */
class Side implements AsyncDisposable {
  private constructor(
    readonly role: Role,
    readonly kind: Kind,
    readonly child: Child,
    /** Whether it is in a container. */
    readonly isInside: boolean,
  ) {}

  static async start(v1: V1, role: Role, kind: Kind, name: string, within: readonly string[]) {
    const child =
      kind === "version 1"
        ? role === "reader"
          ? await v1.reader(name, PAYLOAD_SIZE, { within })
          : v1.writer(name, { within })
        : role === "reader"
          ? await startReader(name, { ...stream, payloadSize: PAYLOAD_SIZE }, within)
          : await startWriter(name, stream, within);
    // A peer of version 1 that is to transfer no frames has done so.
    if (kind === "version 1") await child.receive(role === "reader" ? "read" : "wrote");
    return new Side(role, kind, child, within.length > 0);
  }

  /** Reads or writes so many frames, all of them right. */
  async transfer(frames: number): Promise<void> {
    const { child, role } = this;
    if (this.kind === "version 1") {
      child.write(`${frames}\n`);
      const done = await child.receive(role === "reader" ? "read" : "wrote");
      expect(done).toMatchObject({ frames, end: "enough", ...(role === "reader" && { wrong: 0 }) });
    } else if (role === "reader") {
      await child.send({ do: "read", frames }).receive("reading");
      expect(await child.receive("read")).toMatchObject({ frames, wrong: [], end: "enough" });
    } else {
      await child.send({ do: "write", frames }).receive("writing");
      expect((await child.receive("wrote")).error).toBeUndefined();
    }
  }

  /** Has one of ours wait for its peer. */
  async wait(name: string, how: "blocking" | "async"): Promise<void> {
    const { child } = this;
    if (this.role === "reader") {
      await child.send({ do: "read", how }).receive("reading");
    } else {
      await child.send({ do: "write", frames: 1e9, how }).receive("writing");
      await bufferFull(name, stream.largest);
    }
    await child.sleeping();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.child[Symbol.asyncDispose]();
  }
}

/** A subject and its peer at one buffer. */
class Pair {
  constructor(
    readonly name: string,
    readonly subject: Side,
    readonly other: Side,
    readonly place: Place,
  ) {}

  get reader(): Side {
    return this.subject.role === "reader" ? this.subject : this.other;
  }

  get writer(): Side {
    return this.subject.role === "writer" ? this.subject : this.other;
  }

  async transfer(frames: number): Promise<void> {
    await Promise.all([this.reader.transfer(frames), this.writer.transfer(frames)]);
  }

  /** Whether something shows in a place that a side lives: its locks, or its process. */
  shows(side: Side, spot: Spot): boolean {
    if (side.kind === "ours" || !side.isInside === (spot.container === undefined)) return true;
    return [this.place.subject, this.place.other].every((within) => within !== containerWithoutTmp);
  }

  /** From where it is looked at: outside, and beside a side that is in a container. */
  get spots(): Spot[] {
    const container = [this.subject, this.other].find((side) => side.isInside);
    const inside = container === undefined ? [] : [{ within: beside(container.child), container }];
    return [{ within: OUTSIDE, container: undefined }, ...inside];
  }
}

/** A place to run commands in: outside, or in the container of one side. */
interface Spot {
  readonly within: readonly string[];
  readonly container: Side | undefined;
}

async function reportOf(within: readonly string[], ...args: string[]) {
  await using child = Child.cli([...args, "--json-output"], { within });
  return await child.report();
}

/** While both live nobody else takes their places, and nobody removes the buffer. */
async function expectTaken(pair: Pair): Promise<void> {
  const { name, reader } = pair;
  const taken = /^(READER|WRITER)_ALREADY_CONNECTED$/;
  const reports = await Promise.all(
    pair.spots.map(async (spot) => ({
      spot,
      list: await reportOf(spot.within, "list"),
      clean: await reportOf(spot.within, "clean", name),
      second: {
        reader: await reportOf(spot.within, "reader", name, "--buffer-size", "4096"),
        writer: await reportOf(spot.within, "writer", name, "--connect-timeout-ms", "100"),
      },
    })),
  );
  for (const { spot, list, clean, second } of reports) {
    expect(clean).toMatchObject({ code: 1, document: { error: { code: expect.stringMatching(taken) } } });
    expect(second.writer).toMatchObject({
      code: 1,
      document: { error: { code: "WRITER_ALREADY_CONNECTED" } },
    });
    expect(second.reader).toMatchObject(
      pair.shows(reader, spot)
        ? { code: 1, document: { error: { code: "READER_ALREADY_CONNECTED" } } }
        : // Nothing here tells whether it lives.
          { code: 4, document: { error: { code: "CORRUPT_BUFFER" } } },
    );
    const entry = list.document.buffers.find((one: { buffer_name: string }) => one.buffer_name === name);
    expect(entry).toMatchObject({ state: "live" });
    expectShown(entry, pair, spot);
  }
}

/** Each side is shown as the process that it is, or as one that cannot be seen: never as somebody else. */
// biome-ignore lint/suspicious/noExplicitAny: a document of the command line
function expectShown(entry: any, { reader, writer }: Pair, spot: Spot): void {
  for (const side of [reader, writer]) {
    const { pid } = side.child;
    const own = numbersOf(pid).at(-1);
    const here = spot.container === undefined ? pid : own;
    const isHere = spot.container === undefined || (side.isInside && spot.container === side);
    // Process 1 of a container, without a lock, may as well be the peer that is process 1 of another one.
    const isTold =
      side.kind === "ours" || !(reader.isInside && writer.isInside) || spot.container === undefined;
    const shown = entry[side.role];
    expect(shown).toMatchObject({ pid: own, alive: true, host_pid: isHere && isTold ? here : null });
    if (shown.host_pid === null) expect(shown.command).toBeNull();
    else expect(shown.command).toContain(side.kind === "ours" ? `${side.role}.ts` : "program");
  }
}

/** When nobody is left, both outside and inside know it, and the buffer goes. */
async function expectCleaned({ name, reader, place }: Pair): Promise<void> {
  const inside = place.subject.length > 0 ? place.subject : place.other;
  // Only where the reader was are its lock files.
  const [first, last] = reader.isInside ? [OUTSIDE, inside] : [inside, OUTSIDE];
  const rehearsal = await reportOf(first, "clean", name, "--dry-run");
  expect(rehearsal).toMatchObject({ code: 0, document: { removed: [{ buffer_name: name }] } });
  const { code, document } = await reportOf(last, "clean", name);
  expect({ code, left: document.left }).toEqual({ code: 0, left: [] });
}

const play: Readonly<Record<Fate, (pair: Pair, v1: V1) => Promise<void>>> = {
  async lives(pair) {
    await expectTaken(pair);
    await pair.transfer(FRAMES);
    await pair.writer.child.succeed();
    await pair.reader.child.succeed();
  },

  async "is killed"(pair) {
    const { name, subject, other } = pair;
    await other.wait(name, subject.isInside ? "blocking" : "async");
    const at = Date.now();
    subject.child.kill("SIGKILL");
    await subject.child.exited();
    await expectTold(pair, "died", at + NOTICED_MS);
    const { code, document } = await reportOf(OUTSIDE, "clean", name);
    const lives = `${other.role.toUpperCase()}_ALREADY_CONNECTED`;
    expect({ code, why: document.error?.code }).toEqual({ code: 1, why: lives });
    other.child.kill("SIGKILL");
    await other.child.exited();
    await expectCleaned(pair);
  },

  async "is stopped"(pair) {
    const { subject, other } = pair;
    await subject.child.stop();
    let unread = 0;
    if (other.role === "reader") {
      await other.child.send({ do: "read", timeoutMs: STANDSTILL_MS }).receive("reading");
      expect(await other.child.receive("read")).toMatchObject({ frames: 0, end: "timeout" });
    } else {
      await other.child.send({ do: "write", frames: 1e9, writeTimeout: STANDSTILL_MS }).receive("writing");
      const { error, frames } = await other.child.receive("wrote");
      expect(error).toMatchObject({ code: "BUFFER_FULL", reason: "timeout" });
      unread = frames - FRAMES;
    }
    await expectTaken(pair);
    subject.child.resume();
    if (unread > 0) await pair.reader.transfer(unread);
    await pair.transfer(FRAMES);
    await pair.writer.child.succeed();
    await pair.reader.child.succeed();
  },

  async leaves(pair, v1) {
    const { name, subject, other, place } = pair;
    await other.wait(name, subject.isInside ? "async" : "blocking");
    const at = Date.now();
    await subject.child.succeed();
    const limit = subject.role === "writer" && subject.kind === "version 1" ? LEFT_MS : NOTICED_MS;
    await expectTold(pair, "left", at + limit);
    if (other.role === "reader") {
      await using next = await Side.start(v1, subject.role, subject.kind, name, place.subject);
      await Promise.all([next.transfer(FRAMES), other.transfer(FRAMES)]);
      await next.child.succeed();
    }
    await other.child.succeed();
  },
};

/** What the peer that waits is told, and when at the latest. */
async function expectTold({ subject, other }: Pair, reason: "died" | "left", at: number): Promise<void> {
  const { error } = await other.child.receive(other.role === "reader" ? "read" : "wrote");
  expect(error).toMatchObject({ code: `${subject.role.toUpperCase()}_DEAD`, reason });
  expect(error.at).toBeLessThan(at);
}

export async function playCase(v1: V1, { role, kind, place, fate }: Case): Promise<void> {
  const name = uniqueName();
  const [readerKind, writerKind]: Kind[] = role === "reader" ? [kind, "ours"] : ["ours", kind];
  const [readerWithin, writerWithin] =
    role === "reader" ? [place.subject, place.other] : [place.other, place.subject];
  await using reader = await Side.start(v1, "reader", readerKind!, name, readerWithin);
  await using writer = await Side.start(v1, "writer", writerKind!, name, writerWithin);
  const [subject, other] = role === "reader" ? [reader, writer] : [writer, reader];
  const pair = new Pair(name, subject, other, place);
  await pair.transfer(FRAMES);
  await play[fate](pair, v1);
}
