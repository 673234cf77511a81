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
const TURNS = 5;

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

interface RoundTrips {
  /** Of each picture that counts, in nanoseconds. */
  readonly times: readonly number[];
  /** The relay's processor time, with its start. */
  readonly cpuSeconds: number;
}

/**
 * Round trips of pictures through a relay that is started for them, from an initiator that walks through its ring as the
 * writers of version 1 do.
 */
async function roundTrips(
  relay: (there: string, back: string) => readonly string[],
  { count, uncounted, rate }: Pictures,
): Promise<RoundTrips> {
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
  const times: number[] = JSON.parse(said).ns.slice(uncounted);
  return { times, cpuSeconds: Number(passing.resourceUsage()!.cpuTime.total) / 1e6 };
}

function percentilesOf(times: readonly number[]): Figures {
  const sorted = times.toSorted((a, b) => a - b);
  const percentile = (percent: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))]!;
  return {
    p50Ns: percentile(50),
    p90Ns: percentile(90),
    p99Ns: percentile(99),
    p999Ns: percentile(99.9),
  };
}

/** @returns the turns, and the percentiles of the pictures of all turns together. */
async function takePicturesInTurns(
  pictures: Pictures,
  count: number,
): Promise<{ turns: Turn[]; pooled: Turn }> {
  await buildInC(paced, ["scripts/bench/paced.c", "tests/process/fixtures/v1-buffer.c"]);
  const all: Record<string, number[]> = {};
  const contenders = Object.entries(RELAYS).map(([name, relay]) => {
    const pool: number[] = [];
    all[name] = pool;
    const contend = async (): Promise<Figures> => {
      const { times, cpuSeconds } = await roundTrips(relay, pictures);
      pool.push(...times);
      return { ...percentilesOf(times), cpuSeconds };
    };
    return [name, contend] as const;
  });
  const turns = await takeTurns(Object.fromEntries(contenders), count);
  const pooled = Object.fromEntries(Object.entries(all).map(([name, times]) => [name, percentilesOf(times)]));
  return { turns, pooled };
}

/**
 * Pictures to a relay that has just begun, and back: each lies where nothing has been before. A lap is too short for percentiles
 * of its own: those of the pictures of all starts count, and the ranges are those of single starts.
 */
export async function firstLap(): Promise<Measurement> {
  const rate = 30;
  const { turns, pooled } = await takePicturesInTurns({ count: LAP, uncounted: 0, rate }, STARTS);
  const pooledRatio = (figure: string, of: string, to: string) => ({
    ...compare(turns, figure, of, to),
    ratio: pooled[of]![figure]! / pooled[to]![figure]!,
  });
  return {
    title: `pictures at ${rate} a second there and back, rings of 256 MiB, the first lap, p50`,
    contenders: medians([pooled], "p50Ns", nanosecondsText),
    comparisons: [
      { ...pooledRatio("p50Ns", "relay", "C"), atMost: 0.8 },
      { ...pooledRatio("p90Ns", "relay", "C"), of: "relay p90", to: "C p90" },
      pooledRatio("p50Ns", "relay", "C on the helper"),
    ],
    turns,
  };
}

/** Pictures to a relay that has filled both of its rings before, and back. */
export async function laterLaps({ rate, count }: Pick<Pictures, "rate" | "count">): Promise<Measurement> {
  const { turns } = await takePicturesInTurns({ count, uncounted: LAP, rate }, TURNS);
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
