// What children do that are killed in the middle of it, and whose system calls fail.

import { expect } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Frame, Reader, Writer } from "../../src/core/index.ts";
import { startReader } from "../process/peers.ts";
import { V1 } from "../process/v1.ts";
import { bytesOf, setField, thrownBy, WAIT_LIMIT_MS } from "../support/buffers.ts";
import type { Child } from "../support/process.ts";
import { expectNoHalfBuffer, type Scenario, type Stage } from "./stage.ts";

/** Small, so that frames wrap, fill it and find it full. */
const RING = { metadataSize: 64, payloadSize: 1024 };

const peer = join(import.meta.dir, "fixtures", "peer.ts");
const asReader = (name: string) => [peer, "reader", name];
const asWriter = (name: string) => [peer, "writer", name];

/** Long enough to see that somebody has died. */
const NOTICED_MS = 300;

/** A process id that no process ever has, because Linux gives out smaller ones only. */
const deadPid = 2 ** 22;

// ---- creating and removing -----------------------------------------------------------------------------------------

async function create(stage: Stage, config: object = RING): Promise<void> {
  await performCreation(stage, config);
  expectNoHalfBuffer(stage.name);
  stage.expectTheNextReaderToWork();
}

/** Semaphores come after the memory and go before it, and a new buffer's OIEB is complete only when both are there. */
async function performCreation(stage: Stage, config: object): Promise<void> {
  const memory = `/dev/shm/${stage.name}`;
  const hadMemory = existsSync(memory);
  let isOpen = false;
  await stage.perform(async () => {
    stage.begin();
    isOpen = (await stage.ask({ do: "open", config })).event === "did";
    await stage.ask({ do: "close" });
  });
  // A call that fails may be the one that removes something.
  if (stage.fault !== undefined && stage.fault.action !== "kill") return;
  const semaphores = ["w", "r"].map((role) => existsSync(`/dev/shm/sem.sem-${role}-${stage.name}`));
  if (!existsSync(memory)) expect(semaphores).toEqual([false, false]);
  else if (!isOpen && !hadMemory && isComplete(readFileSync(memory)))
    expect(semaphores).toEqual([true, true]);
}

const isComplete = (bytes: Buffer) => bytes.length >= 128 && bytes.readUInt32LE(0) === 128;

/** Leaves what a reader leaves that was killed, with pids in it that may belong to others; one of version 1 has no flags. */
function leaveRemains(name: string, readerPid: number, { ofV1 = false } = {}): void {
  const reader = new Reader(name, RING);
  const paths = [`/dev/shm/${name}`, `/dev/shm/sem.sem-w-${name}`, `/dev/shm/sem.sem-r-${name}`];
  const contents = paths.map((path) => readFileSync(path));
  reader.close();
  contents[0]?.writeBigUInt64LE(BigInt(readerPid), 88);
  if (ofV1) contents[0]?.writeBigUInt64LE(0n, 120);
  for (const [index, path] of paths.entries()) writeFileSync(path, contents[index]!);
  writeFileSync(`/tmp/zerobuffer/${name}.lock`, "");
}

const creation: Scenario[] = [
  { name: "a reader that makes and removes its buffer", program: asReader, play: (stage) => create(stage) },
  {
    name: "a reader that makes a large buffer",
    program: asReader,
    play: (stage) => create(stage, { ...RING, payloadSize: 4 << 20 }),
  },
  {
    name: "a reader that makes a buffer with permissions of its own",
    program: asReader,
    play: (stage) => create(stage, { ...RING, mode: 0o600 }),
  },
  {
    name: "a reader on a file system without unnamed files",
    program: asReader,
    always: "create_unnamed:errno=95:0",
    play: (stage) => create(stage),
  },
  ...[{}, { always: "create_unnamed:errno=95:0" }].map((faults) => ({
    ...faults,
    name: `a writer that makes its buffer${"always" in faults ? " on a file system without unnamed files" : ""}`,
    program: asWriter,
    play: async (stage: Stage) => {
      await performCreation(stage, RING);
      stage.expectTheNextReaderToWork();
    },
  })),
  ...[false, true].map((ofV1) => ({
    name: `a reader that takes the place of a dead one${ofV1 ? " of version 1" : ""}`,
    program: asReader,
    play: async (stage: Stage) => {
      leaveRemains(stage.name, process.ppid, { ofV1 });
      await create(stage);
    },
  })),
  {
    name: "a reader that finds the empty file of a creation that was killed",
    program: asReader,
    play: async (stage) => {
      writeFileSync(`/dev/shm/${stage.name}`, "");
      writeFileSync(`/tmp/zerobuffer/${stage.name}.lock`, "");
      await create(stage);
    },
  },
  {
    name: "a reader that adopts the buffer of a writer",
    program: asReader,
    play: async (stage) => {
      const writer = new Writer(stage.name, { create: RING, writeTimeout: NOTICED_MS });
      writer.writeFrame(bytesOf(1, 100));
      await stage.perform(async () => {
        stage.begin();
        if ((await stage.ask({ do: "open", config: RING })).event === "did") {
          const read = await stage.ask({ do: "read" });
          if (read.event === "did") expect(read).toMatchObject({ sequence: 1, isWhole: true });
        }
        await stage.ask({ do: "close" });
      });
      // Its reader has died or left, unless it was killed before it became the reader.
      const error = thrownBy(() => {
        for (;;) writer.writeFrame(bytesOf(2, 100));
      });
      expect(["READER_DEAD", "BUFFER_FULL", "CORRUPT_BUFFER"]).toContain((error as { code: string }).code);
      writer.close();
      expectNoHalfBuffer(stage.name);
      stage.expectTheNextReaderToWork();
    },
  },
];

// ---- writing -------------------------------------------------------------------------------------------------------

/** The reader of a child that writes: it takes frames, and checks all of them. */
class Audience implements Disposable {
  readonly reader: Reader;
  readonly held: Frame[] = [];
  /** Frames that have been read. */
  delivered = 0;
  #awaited: Promise<void> | undefined;

  constructor(name: string) {
    this.reader = new Reader(name, RING);
  }

  /** Reads what is there, and holds it. */
  take(): void {
    for (;;) {
      const frame = this.reader.tryReadFrame();
      if (!frame.isValid) return;
      this.#check(frame);
    }
  }

  #check(frame: Frame): void {
    expect(frame.sequence).toBe(++this.delivered);
    expect(Buffer.compare(frame.data, bytesOf(frame.sequence, frame.size))).toBe(0);
    this.held.push(frame);
  }

  /** Begins to wait for a frame, and returns when the child's posts have somebody to wake. */
  async wait(stage: Stage): Promise<void> {
    this.#awaited = this.reader.readFrameAsync(WAIT_LIMIT_MS).then((frame) => this.#check(frame));
    // It is looked at when the child has gone, which may be after it was rejected.
    this.#awaited.catch(() => {});
    await stage.hasWaiter("w");
  }

  release(count = this.held.length): void {
    for (const frame of this.held.splice(0, count)) frame.release();
  }

  /** Reads what is left, until the writer is reported gone. */
  async takeTheRest(patienceMs: number): Promise<{ code: string }> {
    const ended = await this.#awaited?.then(
      () => undefined,
      (error) => error,
    );
    this.release();
    if (ended !== undefined) return ended;
    return thrownBy(() => {
      for (;;) {
        const frame = this.reader.readFrame(patienceMs);
        if (!frame.isValid) throw Object.assign(new Error("no report"), { code: "NONE" });
        this.#check(frame);
        this.release();
      }
    }) as { code: string };
  }

  [Symbol.dispose](): void {
    this.reader.close();
  }
}

/** Has the child write a frame; with `meanwhile`, one that it has to wait for. */
type Write = (size: number, how?: string, meanwhile?: () => void) => Promise<void>;

/** Frames of which each call of "write-together" writes so many. */
const TOGETHER = 3;

/** Killed at one of these, a writer has published its frame, though nobody has been told. */
const AFTER_PUBLICATION = ["write_post", "post_token", "post_wake"];
const BEFORE_PUBLICATION = ["write_marker", "write_copy", "write_header", "write_positions", "write_publish"];

/** A child that writes: whatever becomes of it, each frame whose write returned arrives, and none is torn. */
function writing(
  name: string,
  play: (stage: Stage, audience: Audience, write: Write) => Promise<void>,
  { connects = false } = {},
): Scenario {
  return {
    name: `a writer that ${name}`,
    program: asWriter,
    play: async (stage) => {
      using audience = new Audience(stage.name);
      let begun = 0;
      let returned = 0;
      /** Frames of the last call: they are published together. */
      let last = 0;
      const write: Write = async (size, how = "write", meanwhile) => {
        last = how === "write-together" ? TOGETHER : 1;
        begun += last;
        const instruction = { do: how, size, frames: last };
        const answer = await (meanwhile === undefined
          ? stage.ask(instruction)
          : stage.askAndLetWait(instruction, "r", meanwhile));
        if (answer.event === "did") returned += last;
        else begun -= last;
      };
      await stage.perform(async () => {
        if (connects) stage.begin();
        if ((await stage.ask({ do: "open" })).event === "did") await play(stage, audience, write);
        await stage.ask({ do: "close" });
      });
      audience.release();
      const { code } = await audience.takeTheRest(connects ? NOTICED_MS : WAIT_LIMIT_MS);
      if (!connects) expect(code).toBe("WRITER_DEAD");
      if (code === "WRITER_DEAD" && stage.goneAt !== undefined) stage.noteTimeSince(stage.goneAt);
      expect(audience.delivered).toBeGreaterThanOrEqual(returned);
      expect(audience.delivered).toBeLessThanOrEqual(begun);
      if (stage.goneAt !== undefined) {
        const step = stage.fault?.step ?? "";
        if (AFTER_PUBLICATION.includes(step)) expect(audience.delivered).toBe(begun);
        if (BEFORE_PUBLICATION.includes(step)) expect(audience.delivered).toBe(begun - last);
      }
      expectTheNextWriterToWork(stage, audience.reader);
    },
  };
}

function expectTheNextWriterToWork(stage: Stage, reader: Reader): void {
  const start = performance.now();
  using writer = new Writer(stage.name, { connectTimeoutMs: WAIT_LIMIT_MS });
  stage.noteTimeSince(start);
  writer.setMetadata(Buffer.from("next"));
  writer.writeFrame(bytesOf(1, 1000));
  for (let tries = 0; tries < 2; tries++) {
    try {
      using frame = reader.readFrame(WAIT_LIMIT_MS);
      expect([frame.sequence, frame.size]).toEqual([1, 1000]);
      break;
    } catch (error) {
      // The departure of the one before is reported once.
      expect((error as { code: string }).code).toBe("WRITER_DEAD");
      expect(tries).toBe(0);
    }
  }
  expect(Buffer.from(reader.getMetadata()).toString()).toBe("next");
}

const writers: Scenario[] = [
  writing(
    "connects, sends metadata, writes and leaves",
    async (stage, _, write) => {
      await stage.ask({ do: "metadata" });
      await write(100);
    },
    { connects: true },
  ),
  writing("writes frames of several sizes", async (stage, _, write) => {
    stage.begin();
    for (const size of [1, 24, 100, 500]) await write(size);
  }),
  writing("writes frames together, one of them beyond a wrap", async (stage, audience, write) => {
    await write(600);
    await write(100);
    audience.take();
    audience.release(1);
    stage.begin();
    await write(100, "write-together");
    audience.release();
    audience.take();
    await write(50, "write-together");
  }),
  writing("fills a frame in place", async (stage, _, write) => {
    stage.begin();
    await write(100, "write-in-place");
  }),
  writing("wakes a reader that waits", async (stage, audience, write) => {
    await audience.wait(stage);
    stage.begin();
    await write(100);
  }),
  writing("wraps", async (stage, audience, write) => {
    await write(400);
    await write(400);
    audience.take();
    audience.release(1);
    stage.begin();
    await write(300);
  }),
  writing("fills the ring exactly", async (stage, _, write) => {
    stage.begin();
    await write(1008);
  }),
  writing("would leave a tail too short for a header", async (stage, _, write) => {
    stage.begin();
    await write(1000);
  }),
  writing("finds an empty ring and rewinds it", async (stage, audience, write) => {
    await write(100);
    audience.take();
    audience.release();
    stage.begin();
    await write(200);
  }),
  ...(["write", "write-async"] as const).map((how) =>
    writing(`waits for room (${how})`, async (stage, audience, write) => {
      await write(1000);
      audience.take();
      stage.begin();
      await write(900, how, () => audience.release());
    }),
  ),
];

/** A child whose reader is killed: it has to find that out. */
function bereaved(name: string, start: (buffer: string) => Promise<Child>, always?: string): Scenario {
  return {
    name: `a writer that finds its reader dead${name}`,
    program: asWriter,
    ...(always !== undefined && { always }),
    play: async (stage) => {
      await using reader = await start(stage.name);
      await stage.perform(async () => {
        await stage.ask({ do: "open" });
        reader.kill("SIGKILL");
        await reader.end();
        stage.begin();
        for (let i = 0; i < 3; i++) {
          const answer = await stage.ask({ do: "write", size: 1000 });
          // A call that fails may be what it waits with.
          if (answer.event === "refused" && !stage.fault?.action.startsWith("errno"))
            expect(answer.code).toBe("READER_DEAD");
        }
        await stage.ask({ do: "close" });
      });
      reader.kill("SIGKILL");
      stage.expectTheNextReaderToWork();
    },
  };
}

const v1 = await V1.build();
const startV1Reader = (name: string) => v1.reader(name, RING.payloadSize);

const bereavements: Scenario[] = [
  bereaved("", (name) => startReader(name, { largest: 1000, ...RING })),
  bereaved(", one of version 1", startV1Reader),
  // Then its lock file is all that is left to look at.
  bereaved(
    ", one of version 1 that is not visible, where who has the memory open may not be asked",
    startV1Reader,
    "maps_open:errno=2:0,lease_ask:errno=13:0",
  ),
];

// ---- reading -------------------------------------------------------------------------------------------------------

/** A child that reads: whatever becomes of it, its writer learns of it, and the next reader has the name. */
function reading(
  name: string,
  play: (stage: Stage, writer: Writer) => Promise<void>,
  always?: string,
): Scenario {
  return {
    name: `a reader that ${name}`,
    program: asReader,
    ...(always !== undefined && { always }),
    play: async (stage) => {
      let writer: Writer | undefined;
      await stage.perform(async () => {
        if ((await stage.ask({ do: "open", config: RING })).event === "did") {
          writer = new Writer(stage.name, { writeTimeout: WAIT_LIMIT_MS });
          await play(stage, writer);
        }
        await stage.ask({ do: "close" });
      });
      const start = performance.now();
      if (writer !== undefined) {
        const error = thrownBy(() => {
          for (;;) writer?.writeFrame(bytesOf(1, 500));
        }) as { code: string };
        // Closed by the play, it has nothing to find out.
        expect(["READER_DEAD", "CLOSED"]).toContain(error.code);
        stage.noteTimeSince(start);
        writer.close();
      }
      stage.expectTheNextReaderToWork();
    },
  };
}

function waitingFor(how: "read" | "read-async", called: string, always?: string): Scenario {
  const play = async (stage: Stage, writer: Writer) => {
    stage.begin();
    const answer = await stage.askAndLetWait({ do: how }, "w", () => writer.writeFrame(bytesOf(1, 100)));
    // A signal ends the wait without a frame.
    if (answer.event === "did" && answer.sequence !== null)
      expect(answer).toMatchObject({ sequence: 1, isWhole: true });
  };
  return reading(`waits for a frame (${called})`, play, always);
}

const readers: Scenario[] = [
  reading("holds frames and releases them out of order", async (stage, writer) => {
    writer.setMetadata(Buffer.from("metadata"));
    for (const [index, size] of [100, 300, 200].entries()) writer.writeFrame(bytesOf(index + 1, size));
    stage.begin();
    let sequence = 0;
    for (let i = 0; i < 3; i++) {
      const answer = await stage.ask({ do: "read" });
      if (answer.event === "did") expect(answer).toMatchObject({ sequence: ++sequence, isWhole: true });
    }
    await stage.ask({ do: "metadata" });
    for (const index of [1, 0, 2]) await stage.ask({ do: "release", index });
  }),
  reading("takes frames together and releases them together", async (stage, writer) => {
    writer.writeFrames(Buffer.concat([1, 2, 3].map((sequence) => bytesOf(sequence, 200))), 200);
    stage.begin();
    const answer = await stage.ask({ do: "read-together" });
    if (answer.event === "did") expect(answer).toMatchObject({ frames: 3, isWhole: true });
    await stage.ask({ do: "release", index: 0 });
  }),
  waitingFor("read", "read"),
  waitingFor("read-async", "read-async"),
  waitingFor("read-async", "read-async, without io_uring", "uring_setup:errno=1:0"),
  reading("goes on to the next writer", async (stage, writer) => {
    writer.setMetadata(Buffer.from("metadata"));
    writer.writeFrame(bytesOf(1, 100));
    writer.close();
    await stage.ask({ do: "read" });
    await stage.ask({ do: "release", index: 0 });
    await stage.ask({ do: "read" });
    stage.begin();
    await stage.ask({ do: "read", timeoutMs: 0 });
  }),
  reading("settles the half-done wrap of a writer that died", async (stage, writer) => {
    writer.close();
    stage.begin();
    // As a writer of another implementation leaves it: a marker, zeros, at the start, and the space behind it taken.
    setField(stage.name, 40, BigInt(RING.payloadSize - 100));
    setField(stage.name, 80, BigInt(deadPid));
    const { code } = await stage.ask({ do: "read", timeoutMs: 500 });
    // It has given back what was lost with its writer.
    if (code === "WRITER_DEAD")
      expect(Number(readFileSync(`/dev/shm/${stage.name}`).readBigUInt64LE(40))).toBe(RING.payloadSize);
  }),
];

/** All of them; together they reach every fault point there is. */
export const scenarios: readonly Scenario[] = [...creation, ...writers, ...bereavements, ...readers];
