// What sides of shared payloads do that are killed in the middle of it, and whose system calls fail.

import { expect } from "bun:test";
import { join } from "node:path";
import { Reader, SharedWriter, Writer, ZeroBufferError } from "../../src/core/index.ts";
import { bytesOf, fieldOf, uniqueName, WAIT_LIMIT_MS } from "../support/buffers.ts";
import type { Scenario, Stage } from "./stage.ts";

/** Frames of this size are shared. */
export const SIZE = 8192;
export const RING = { metadataSize: 64, payloadSize: 4 * (SIZE + 16) + 64 };

/** Where the OIEB keeps these fields, and one of its flags (docs/protocol.md, section 1). */
export const FREE_OFFSET = 40;
const RELEASED_OFFSET = 104;
const FLAGS_OFFSET = 120;
const LOCKED_ROLES = 16n;

const peer = join(import.meta.dir, "fixtures", "sharing-peer.ts");
export const targetOf = (name: string) => `${name}-target`;

/** Lets a call fail because the child has gone or has refused to go on: what follows tells. */
function unlessGone(act: () => void): void {
  try {
    act();
  } catch (error) {
    if (!(error instanceof ZeroBufferError)) throw error;
    expect(["READER_DEAD", "WRITER_DEAD", "BUFFER_FULL"]).toContain(error.code);
  }
}

/**
 * What a target's reader has done in order, wherever it was stopped: it has answered an attachment, and counted descriptors,
 * before it has returned their space.
 */
function expectOrder(target: string, writer: SharedWriter, descriptors: number): void {
  if (fieldOf(target, FREE_OFFSET) !== BigInt(RING.payloadSize)) return;
  expect(writer.sharing).not.toBe("requested");
  expect(fieldOf(target, RELEASED_OFFSET)).toBe(BigInt(descriptors));
}

/** Closes the child's ends, which then has nothing of them open any more. */
async function expectToCloseAll(stage: Stage): Promise<void> {
  const closed = await stage.ask({ do: "close" });
  if (closed.event === "did") expect(closed.leaked).toEqual([]);
}

/** Whatever the child held, all of the source's ring can be used again. */
async function expectTheSourceToGoOn(camera: Writer, source: Reader): Promise<void> {
  for (let count = 0; count < 8; count++) {
    await camera.writeFrameAsync(bytesOf(count, SIZE));
    (await source.readFrameAsync(WAIT_LIMIT_MS)).release();
  }
}

async function playTarget(stage: Stage): Promise<void> {
  using source = new Reader(uniqueName(), RING, { allowPayloadSharing: true });
  using camera = new Writer(source.name, { writeTimeout: WAIT_LIMIT_MS });
  // In the target's ring.
  let [written, read, descriptors] = [0, 0, 0];
  const passOn = (to: SharedWriter) =>
    unlessGone(() => {
      camera.writeFrame(bytesOf(written + 1, SIZE));
      using frame = source.readFrame(0);
      if (to.forwardFrame(frame) === "shared") descriptors++;
      written++;
    });
  await stage.perform(async () => {
    stage.begin();
    if ((await stage.ask({ do: "open", config: RING })).event !== "did") return;
    for (let time = 0; time < 2; time++) {
      // The next writer goes on counting for a reader that could not lock its role.
      if (((fieldOf(stage.name, FLAGS_OFFSET) ?? 0n) & LOCKED_ROLES) !== 0n) [written, read] = [0, 0];
      const shared = new SharedWriter(stage.name, source, { writeTimeout: 0 });
      try {
        for (let frames = 0; frames < 3; frames++) {
          passOn(shared);
          const answer = await stage.ask({ do: "read" });
          if (answer.event === "did") expect(answer).toMatchObject({ sequence: ++read, isWhole: true });
          else expect(answer.code).not.toBe("CORRUPT_BUFFER");
        }
        await stage.ask({ do: "release" });
      } finally {
        expectOrder(stage.name, shared, descriptors);
        shared.close();
      }
      // It reads what is left, and reports the departure.
      for (; (await stage.ask({ do: "read" })).event === "did"; read++) await stage.ask({ do: "release" });
    }
    await expectToCloseAll(stage);
  });
  await expectTheSourceToGoOn(camera, source);
  stage.expectTheNextReaderToWork();
}

async function playForwarder(stage: Stage): Promise<void> {
  const target = new Reader(targetOf(stage.name), RING, { allowPayloadSharing: true });
  let camera: Writer | undefined;
  try {
    await stage.perform(async () => {
      stage.begin();
      if ((await stage.ask({ do: "open", config: RING })).event !== "did") return;
      camera = new Writer(stage.name, { writeTimeout: 0 });
      let count = 0;
      const film = () => unlessGone(() => camera?.writeFrame(bytesOf(++count, SIZE)));
      for (let frames = 0; frames < 3; frames++) {
        film();
        const passed = await stage.ask({ do: "read" });
        if (passed.event !== "did") return;
        using frame = target.readFrame(WAIT_LIMIT_MS);
        expect([frame.sequence, Buffer.compare(frame.data, bytesOf(count, SIZE))]).toEqual([count, 0]);
        // The next one is sent while the child waits, for what its target releases, too.
        if (frames < 2) continue;
        const last = await stage.askAndLetWait({ do: "read" }, "w", () => {
          frame.release();
          film();
        });
        target.readFrame(last.event === "did" ? WAIT_LIMIT_MS : 0).release();
      }
      target.close();
      // It learns that its target has left, with a frame.
      film();
      await stage.ask({ do: "read" });
      await expectToCloseAll(stage);
    });
  } finally {
    camera?.close();
    target.close();
  }
  stage.expectTheNextReaderToWork();
  stage.expectTheNextReaderToWork(targetOf(stage.name));
}

export const forwarder: Scenario = {
  name: "a forwarder",
  program: (name) => [peer, "forwarder", name, targetOf(name)],
  play: playForwarder,
};

export const target: Scenario = {
  name: "a reader to which frames are passed on",
  program: (name) => [peer, "target", name],
  play: playTarget,
};

export const sharingScenarios: Scenario[] = [target, forwarder];
