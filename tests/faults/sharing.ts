// What sides of shared payloads do that are killed in the middle of it, and whose system calls fail.

import { expect } from "bun:test";
import { join } from "node:path";
import { Reader, SharedWriter, Writer, ZeroBufferError } from "../../src/core/index.ts";
import { bytesOf, uniqueName, WAIT_LIMIT_MS } from "../support/buffers.ts";
import type { Scenario, Stage } from "./stage.ts";

/** Frames of this size are shared. */
export const SIZE = 8192;
export const RING = { metadataSize: 64, payloadSize: 4 * (SIZE + 16) + 64 };

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
  let count = 0;
  const passOn = (to: SharedWriter) =>
    unlessGone(() => {
      camera.writeFrame(bytesOf(++count, SIZE));
      using frame = source.readFrame(0);
      to.forwardFrame(frame);
    });
  await stage.perform(async () => {
    stage.begin();
    if ((await stage.ask({ do: "open", config: RING })).event !== "did") return;
    for (let time = 0; time < 2; time++) {
      count = 0;
      const shared = new SharedWriter(stage.name, source, { writeTimeout: 0 });
      try {
        for (let frames = 0; frames < 3; frames++) {
          passOn(shared);
          const read = await stage.ask({ do: "read" });
          if (read.event === "did") expect(read).toMatchObject({ sequence: count, isWhole: true });
        }
        await stage.ask({ do: "release" });
      } finally {
        shared.close();
      }
      // It reports the departure.
      await stage.ask({ do: "read" });
    }
    await stage.ask({ do: "close" });
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
        await stage.askAndLetWait({ do: "read" }, "w", () => {
          frame.release();
          film();
        });
      }
      using _ = target.readFrame(WAIT_LIMIT_MS);
      target.close();
      // It learns that its target has left, with a frame.
      film();
      await stage.ask({ do: "read" });
      await stage.ask({ do: "close" });
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

export const sharingScenarios: Scenario[] = [
  {
    name: "a reader to which frames are passed on",
    program: (name) => [peer, "target", name],
    play: playTarget,
  },
  forwarder,
];
