// Pictures to a relay and back at the rates of cameras: the relays that are compared, and one run of one of them.

import { join } from "node:path";
import {
  cFlags,
  compile,
  findCompiler,
  helperSources,
  hostSystem,
  nativeSourceDirectory,
  root,
} from "../build-native.ts";
import { commandLine, directory, type Figures, TIMEOUT_MS, uniqueBuffer } from "./programs.ts";

/** A picture of 1920 x 1080 pixels in YUV 4:2:0, and 16 bytes. */
const PICTURE_SIZE = 3_110_416;
const RING_SIZE = 256 * 2 ** 20;

/** As many pictures as the ring holds: in a new one, each lies where nothing has been before. */
export const LAP = Math.floor(RING_SIZE / PICTURE_SIZE);

const paced = join(directory, "paced");

/** Builds the initiator and the relays in C. */
export async function buildPaced(): Promise<void> {
  await compile(await findCompiler(), {
    sources: [join(root, "scripts", "bench", "paced.c"), join(root, "tests", "process", "fixtures", "v1-buffer.c"), ...helperSources(hostSystem)],
    output: paced,
    flags: [...cFlags, "-O2", "-I", nativeSourceDirectory],
  });
}

/** The command line of each relay, from one buffer to another. */
export const RELAYS = {
  relay: (there: string, back: string) => [
    ...[...commandLine, "relay", there, back, "--buffer-size", `${RING_SIZE}`],
    ...["--connect-timeout-ms", "20000", "--timeout-ms", "20000", "--json-output"],
  ],
  C: (there: string, back: string) => [paced, "relay", there, back, `${RING_SIZE}`],
  "C on the helper": (there: string, back: string) => [paced, "relay-of-helper", there, back, `${RING_SIZE}`],
} as const;

/** How many pictures are sent, and how many of them, from the start, do not count. */
export interface Pictures {
  readonly count: number;
  readonly uncounted: number;
  /** Pictures per second. */
  readonly rate: number;
}

/**
 * Round trips of pictures through a relay that is started for them, from an initiator that walks through its ring as the
 * writers of version 1 do.
 */
export async function roundTrips(
  relay: (there: string, back: string) => readonly string[],
  { count, uncounted, rate }: Pictures,
): Promise<Figures> {
  const [there, back] = [uniqueBuffer(), uniqueBuffer()];
  const milliseconds = Math.ceil(((count + uncounted) / rate) * 1000);
  const timeout = TIMEOUT_MS + milliseconds;
  const [passing, initiator] = [
    Bun.spawn([...relay(there, back)], { cwd: root, stdio: ["ignore", "ignore", "inherit"], timeout }),
    Bun.spawn(
      [paced, "initiator", there, back, ...[RING_SIZE, PICTURE_SIZE, rate, count + uncounted].map(String)],
      { cwd: root, stdio: ["ignore", "pipe", "inherit"], timeout },
    ),
  ];
  // Either waits for the other one.
  void initiator.exited.then((code) => code !== 0 && passing.kill());
  void passing.exited.then(() => initiator.exitCode === null && initiator.kill());
  const said = await initiator.stdout.text();
  await passing.exited;
  // The relay may find that the initiator has left before it looks for more: all pictures were answered.
  if (initiator.exitCode !== 0) throw new Error(`failed: pictures at ${rate} a second through a relay`);
  const times: number[] = JSON.parse(said).ns.slice(uncounted).sort((a: number, b: number) => a - b);
  const percentile = (percent: number) => times[Math.min(times.length - 1, Math.floor((times.length * percent) / 100))]!;
  return {
    p50Ns: percentile(50),
    p90Ns: percentile(90),
    p99Ns: percentile(99),
    p999Ns: percentile(99.9),
    cpuSeconds: Number(passing.resourceUsage()!.cpuTime.total) / 1e6,
  };
}
