// One end of the soak's stream. Arguments: "reader" or "writer", the buffer's name, the seed, how many frames, and
// for the writer after how many seconds to stop.

import { readSync } from "node:fs";
import { Reader, Writer, WriterDeadError } from "../../../src/core/index.ts";
import { Frames } from "../../process/fixtures/frames.ts";
import { announce } from "../../process/fixtures/stage.ts";

const [role, name = "", seed = "0", count = "0", seconds = "0"] = process.argv.slice(2);
const frames = Number(count);
const LARGEST = 300;
/** Small, so that nearly every frame wraps or waits. */
const RING = { metadataSize: 0, payloadSize: 4096 };
const PROGRESS_EVERY = Math.max(1, Math.floor(frames / 40));
const expected = new Frames(LARGEST, "mixed");
/** Another seed is another part of the endless stream of sizes. */
const first = Number(seed) % 2 ** 24;

function read(): void {
  using reader = new Reader(name, RING);
  announce("ready");
  let sequence = 0;
  try {
    for (;;) {
      using frame = reader.readFrame(60_000);
      if (!frame.isValid) throw new Error(`no frame after ${sequence}`);
      sequence++;
      if (frame.sequence !== sequence || !expected.matches(first + sequence, frame.data))
        throw new Error(`frame ${sequence} is wrong`);
      if (sequence % PROGRESS_EVERY === 0) announce("progress", { frames: sequence });
    }
  } catch (error) {
    if (!(error instanceof WriterDeadError && error.reason === "left")) throw error;
  }
  announce("end", { frames: sequence });
}

function write(): void {
  using writer = new Writer(name, { writeTimeout: 60_000 });
  announce("ready");
  const deadline = performance.now() + Number(seconds) * 1000;
  while (
    writer.framesWritten < frames &&
    (writer.framesWritten % 1024 !== 0 || performance.now() < deadline)
  ) {
    writer.writeFrame(expected.bytes(first + writer.framesWritten + 1));
  }
  announce("end", { frames: writer.framesWritten });
}

if (role === "reader") read();
else write();
// Its memory and descriptors are looked at until the test has nothing more to tell.
readSync(0, new Uint8Array(1));
