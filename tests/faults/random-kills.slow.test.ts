// kill -9 of either side at random moments, over and over under one name.
//
// ZB_SEED replays a run, ZB_ROUNDS says how many kills (default 1,000), ZB_SECONDS when to end at the latest.

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { startReader, startWriter, sweep } from "../process/peers.ts";
import { filesOfBuffers, uniqueName } from "../support/buffers.ts";
import { Child } from "../support/process.ts";
import { option, Random } from "../support/slow-options.ts";

const rounds = option("ZB_ROUNDS", 1000);
const seconds = option("ZB_SECONDS", 480);
const seed = option("ZB_SEED", (Math.random() * 2 ** 32) >>> 0);

const stream = { largest: 1000, sizes: "mixed" } as const;
const ring = { ...stream, payloadSize: 4096 };
const ENDLESS = 1e9;
const PROMPT_MS = 1000;
/** A start of one that is killed in it takes about this long. */
const START_MS = 80;
const TRANSFER_MS = 30;

async function kill(child: Child): Promise<number> {
  const at = Date.now();
  child.kill("SIGKILL");
  await child.end();
  return at;
}

/** Kills a process that is just starting, wherever it has come to. */
async function killStarting(role: "reader" | "writer", name: string, afterMs: number): Promise<void> {
  await using child = Child.fixture(`${role}.ts`, name, role === "reader" ? ring : { ...stream });
  await Bun.sleep(afterMs);
  if (!child.isOver) child.kill("SIGKILL");
}

test(
  "whoever is killed, whenever: nothing hangs, leaks or is corrupt",
  async () => {
    console.log(`seed ${seed}`);
    const random = new Random(seed);
    const name = uniqueName();
    const deadline = performance.now() + seconds * 1000;
    let reader: Child | undefined;
    let writer: Child | undefined;
    let done = 0;
    let frames = 0;
    let latestNoticeMs = 0;
    const notice = (at: number, killedAt: number) => {
      latestNoticeMs = Math.max(latestNoticeMs, at - killedAt);
      expect(at - killedAt).toBeLessThan(PROMPT_MS);
    };
    try {
      for (; done < rounds && performance.now() < deadline; done++) {
        const victim = random.below(2) < 1 ? "reader" : "writer";
        const starting = random.below(4) < 1;
        const afterMs = random.below(starting ? START_MS : TRANSFER_MS);
        if (starting && (victim === "reader" ? reader : writer) === undefined) {
          await killStarting(victim, name, afterMs);
        }
        reader ??= await startReader(name, ring);
        if (writer === undefined) writer = await startWriter(name, stream);
        else await writer.send({ do: "connect" }).receive("connected");
        await reader.send({ do: "read" }).receive("reading");
        await writer.send({ do: "write", frames: ENDLESS }).receive("writing");
        await Bun.sleep(afterMs);
        if (victim === "reader") {
          const killedAt = await kill(reader);
          reader = undefined;
          const { error } = await writer.receive("wrote");
          expect(error).toMatchObject({ code: "READER_DEAD", reason: "died" });
          notice(error.at, killedAt);
          await writer.send({ do: "close" }).receive("closed");
        } else {
          const killedAt = await kill(writer);
          writer = undefined;
          const { error, ...read } = await reader.receive("read");
          expect(read.wrong).toEqual([]);
          frames += read.frames;
          expect(error).toMatchObject({ code: "WRITER_DEAD", reason: "died" });
          notice(error.at, killedAt);
          const oieb = readFileSync(`/dev/shm/${name}`);
          expect(oieb.readBigUInt64LE(40)).toBe(oieb.readBigUInt64LE(32));
        }
      }
    } catch (error) {
      throw new Error(`round ${done} of seed ${seed}`, { cause: error });
    } finally {
      await reader?.[Symbol.asyncDispose]();
      await writer?.[Symbol.asyncDispose]();
    }
    sweep();
    expect(filesOfBuffers()).toEqual([]);
    console.log(
      `${done} kills, ${frames} frames checked, deaths noticed within ${latestNoticeMs} ms (seed ${seed})`,
    );
  },
  (seconds + 60) * 1000,
);
