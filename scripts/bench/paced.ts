// Pictures to a relay and back at the rates of cameras.

import { join } from "node:path";
import { root } from "../build-native.ts";
import { compare, type Measurement, medians, nanosecondsText, type Turn, takeTurns } from "./contest.ts";
import { buildInC, commandLine, directory, type Figures, TIMEOUT_MS, uniqueBuffer } from "./programs.ts";
import { DEFAULT_RING_SIZE, PICTURE_SIZE } from "./sizes.ts";

/** As many pictures as the ring holds: in a new one, each lies where nothing has been before. */
const LAP = Math.floor(DEFAULT_RING_SIZE / PICTURE_SIZE);
/** Starts of each relay for {@link firstLap}. */
const STARTS = 12;
/** Turns of {@link laterLaps}. */
const TURNS = 3;

const paced = join(directory, "paced");

/** The command line of each relay, from one buffer to another. */
const RELAYS = {
  relay: (there: string, back: string) => [
    ...[...commandLine, "relay", there, back, "--buffer-size", `${DEFAULT_RING_SIZE}`],
    ...["--connect-timeout-ms", "20000", "--timeout-ms", "20000", "--json-output"],
  ],
  C: (there: string, back: string) => [paced, "relay", there, back, `${DEFAULT_RING_SIZE}`],
  "C on the helper": (there: string, back: string) => [
    paced,
    "relay-of-helper",
    there,
    back,
    `${DEFAULT_RING_SIZE}`,
  ],
} as const;

/** How many pictures count, how many are sent before them, and how many per second. */
interface Pictures {
  readonly count: number;
  readonly uncounted: number;
  readonly rate: number;
}

/**
 * Round trips of pictures through a relay that is started for them, from an initiator that walks through its ring as the
 * writers of version 1 do.
 */
async function roundTrips(
  relay: (there: string, back: string) => readonly string[],
  { count, uncounted, rate }: Pictures,
): Promise<Figures> {
  const [there, back] = [uniqueBuffer(), uniqueBuffer()];
  const milliseconds = Math.ceil(((count + uncounted) / rate) * 1000);
  const timeout = TIMEOUT_MS + milliseconds;
  const [passing, initiator] = [
    Bun.spawn([...relay(there, back)], { cwd: root, stdio: ["ignore", "ignore", "inherit"], timeout }),
    Bun.spawn(
      [
        paced,
        "initiator",
        there,
        back,
        ...[DEFAULT_RING_SIZE, PICTURE_SIZE, rate, count + uncounted].map(String),
      ],
      { cwd: root, stdio: ["ignore", "pipe", "inherit"], timeout },
    ),
  ];
  void initiator.exited.then((code) => code !== 0 && passing.kill());
  const said = await initiator.stdout.text();
  await Promise.all([initiator.exited, passing.exited]);
  // The relay may find that the initiator has left before it looks for more: all pictures were answered.
  if (initiator.exitCode !== 0) throw new Error(`failed: pictures at ${rate} a second through a relay`);
  const times: number[] = JSON.parse(said)
    .ns.slice(uncounted)
    .sort((a: number, b: number) => a - b);
  const percentile = (percent: number) =>
    times[Math.min(times.length - 1, Math.floor((times.length * percent) / 100))]!;
  return {
    p50Ns: percentile(50),
    p90Ns: percentile(90),
    p99Ns: percentile(99),
    p999Ns: percentile(99.9),
    cpuSeconds: Number(passing.resourceUsage()!.cpuTime.total) / 1e6,
  };
}

async function takePicturesInTurns(pictures: Pictures, turns: number): Promise<Turn[]> {
  await buildInC(paced, ["scripts/bench/paced.c", "tests/process/fixtures/v1-buffer.c"]);
  const contender = (name: keyof typeof RELAYS) => () => roundTrips(RELAYS[name], pictures);
  return await takeTurns(
    { relay: contender("relay"), C: contender("C"), "C on the helper": contender("C on the helper") },
    turns,
  );
}

/** Pictures to a relay that has just begun, and back: each lies where nothing has been before. */
export async function firstLap(): Promise<Measurement> {
  const rate = 30;
  const turns = await takePicturesInTurns({ count: LAP, uncounted: 0, rate }, STARTS);
  return {
    title: `pictures at ${rate} a second there and back, rings of 256 MiB, the first lap, p50`,
    contenders: medians(turns, "p50Ns", nanosecondsText),
    comparisons: [
      compare(turns, "p50Ns", "relay", "C", { atMost: 0.8 }),
      { ...compare(turns, "p90Ns", "relay", "C"), of: "relay p90", to: "C p90" },
      compare(turns, "p50Ns", "relay", "C on the helper"),
    ],
    turns,
  };
}

/** Pictures to a relay that has filled both of its rings before, and back. */
export async function laterLaps({ rate, count }: Pick<Pictures, "rate" | "count">): Promise<Measurement> {
  const turns = await takePicturesInTurns({ count, uncounted: LAP, rate }, TURNS);
  return {
    title: `pictures at ${rate} a second there and back, rings of 256 MiB, later laps, p50`,
    contenders: medians(turns, "p50Ns", nanosecondsText),
    comparisons: [
      compare(turns, "p50Ns", "relay", "C", { atMost: 1 }),
      { ...compare(turns, "p99Ns", "relay", "C", { atMost: 1 }), of: "relay p99", to: "C p99" },
      compare(turns, "p50Ns", "relay", "C on the helper", { atMost: 1.05 }),
      { ...compare(turns, "cpuSeconds", "relay", "C"), of: "relay CPU", to: "C CPU" },
      ...(count < 10_000
        ? []
        : [{ ...compare(turns, "p999Ns", "relay", "C"), of: "relay p99.9", to: "C p99.9" }]),
    ],
    turns,
  };
}
