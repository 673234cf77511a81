// Ten seconds of zerobuffer: a reader and a writer of the command line move small frames, then pictures, and then the writer
// is killed. On a terminal the ring is drawn meanwhile.

import { constants } from "node:os";
import { join } from "node:path";
import { styleText } from "node:util";
import { bytesText, grouped } from "../src/cli/format.ts";
import { inspectBuffer } from "../src/core/inspection.ts";
import type { ReaderDocument } from "../src/schemas/reader.ts";
import { root } from "./build-native.ts";

/** Small enough for the 64 MiB of shared memory that a container has. */
const RING = "32MiB";

/** Bytes of a 1080p YUV picture, and how many a camera takes per second. */
const [PICTURE, CAMERA] = [3_110_400, 60];

/** Characters of the picture of the ring, and milliseconds between two pictures. */
const [CELLS, INTERVAL_MS] = [56, 100];

/** What the writer does, for how long, and how it ends. */
interface Act {
  readonly title: string;
  readonly writer: string;
  readonly milliseconds: number;
  readonly end: "SIGTERM" | "SIGKILL";
}

const ACTS: readonly Act[] = [
  { title: "Small frames", writer: "-s 64 -n 0 --batch-size 64", milliseconds: 3000, end: "SIGTERM" },
  { title: "1080p pictures", writer: `-s ${PICTURE} -n 0`, milliseconds: 3500, end: "SIGTERM" },
  {
    ...{ title: "A camera that is killed", writer: `-s ${PICTURE} -n 0 --rate ${CAMERA}` },
    ...{ milliseconds: 1500, end: "SIGKILL" },
  },
];

const { stdout } = process;
const isLive = stdout.isTTY && process.env.TERM !== "dumb";
const hasColours = stdout.isTTY && !process.env.NO_COLOR;

const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    process.exitCode = 128 + constants.signals[signal];
    stop.abort();
  });
}

function paint(style: "bold" | "dim" | "green" | "red" | "cyan", text: string): string {
  return hasColours ? styleText(style, text) : text;
}

function start(words: string) {
  return Bun.spawn([process.execPath, join(root, "src", "main.ts"), ...words.split(" ")], {
    stdio: ["ignore", "pipe", "ignore"],
    signal: stop.signal,
    killSignal: "SIGTERM",
  });
}

/** The ring as a line: what is in use, from the read position on. Undefined while there is no buffer. */
function ringOf(buffer: string): { frames: number; line: string } | undefined {
  const oieb = inspectBuffer(buffer)?.snapshot().oieb;
  if (oieb === null || oieb === undefined) return undefined;
  const size = Number(oieb.payloadSize);
  const cellOf = (bytes: number) => (bytes / size) * CELLS;
  const from = cellOf(Number(oieb.payloadReadPos));
  const length = cellOf(size - Number(oieb.payloadFreeBytes));
  const cells = Array.from({ length: CELLS }, (_, cell) => {
    const distance = (cell - Math.floor(from) + CELLS) % CELLS;
    return distance < length ? paint("cyan", "█") : paint("dim", "░");
  });
  return { frames: Number(oieb.payloadWrittenCount), line: cells.join("") };
}

/** Draws the ring until the time is over. */
async function watch(buffer: string, milliseconds: number): Promise<void> {
  const end = performance.now() + milliseconds;
  let last = { frames: 0, at: performance.now() };
  while (performance.now() < end && !stop.signal.aborted) {
    await Bun.sleep(INTERVAL_MS);
    const ring = isLive ? ringOf(buffer) : undefined;
    if (ring === undefined) continue;
    const now = performance.now();
    const rate = ((ring.frames - last.frames) * 1000) / (now - last.at);
    last = { frames: ring.frames, at: now };
    stdout.write(`\r  ring    ${ring.line}  ${grouped(Math.round(rate)).padStart(12)} frames/s\x1b[K`);
  }
  if (isLive) stdout.write("\r\x1b[K");
}

/** Plays an act, and says whether everything was as it should be. */
async function play({ title, writer: words, milliseconds, end }: Act, at: number): Promise<boolean> {
  const buffer = `demo-${process.pid}-${at}`;
  const readerWords = `reader ${buffer} --verify sequential --buffer-size ${RING}`;
  const writerWords = `writer ${buffer} ${words}`;
  console.log(paint("bold", title));
  print("reader", `zerobuffer ${readerWords}`);
  print("writer", `zerobuffer ${writerWords}`);
  const reader = start(`${readerWords} --json-output`);
  const writer = start(`${writerWords} --json-output`);
  const output = reader.stdout.text();
  await watch(buffer, milliseconds);
  const endedAt = performance.now();
  writer.kill(end);
  await Promise.race([reader.exited, Bun.sleep(10_000)]);
  const noticedMs = performance.now() - endedAt;
  reader.kill("SIGTERM");
  const result: ReaderDocument = JSON.parse(await output);
  await writer.exited;
  if (stop.signal.aborted) return false;

  const { bytes_read: bytes, duration_seconds: seconds, frames_read: frames, verification_errors } = result;
  print("frames", `${grouped(frames)}, ${bytesText(bytes)} in ${grouped(seconds, 1)} s`);
  if (end === "SIGTERM") {
    const cameras = Math.floor(bytes / seconds / (PICTURE * CAMERA));
    const compared = cameras > 1 ? `, as much as ${cameras} cameras at ${CAMERA} frames/s` : "";
    print(
      "rate",
      `${grouped(Math.round(frames / seconds))} frames/s, ${bytesText(bytes / seconds)}/s${compared}`,
    );
  }
  const code = end === "SIGTERM" ? undefined : "WRITER_DEAD";
  const isRight = frames > 0 && verification_errors === 0 && result.error?.code === code;
  const rest =
    code === undefined
      ? ""
      : `; the reader knew after ${Math.round(noticedMs)} ms that the writer was killed`;
  print(
    "data",
    isRight ? paint("green", `every byte verified${rest}`) : paint("red", "not as it was written"),
  );
  for (const error of isRight ? [] : result.errors) console.error(paint("red", error));
  console.log();
  return isRight;
}

function print(label: string, value: string): void {
  console.log(`  ${paint("dim", label.padEnd(7))} ${value}`);
}

let areAllRight = true;
for (const [at, act] of ACTS.entries()) {
  if (!stop.signal.aborted) areAllRight = (await play(act, at)) && areAllRight;
}
if (stop.signal.aborted) console.log("stopped");
else if (areAllRight)
  console.log("Look at frames in a browser: bun src/main.ts view. All commands: bun src/main.ts --help");
else process.exitCode = 1;
