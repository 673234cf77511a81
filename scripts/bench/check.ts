// Fails where the API has lost more than a fifth of its speed against the C program, compared with what is recorded.
//
// The best of several turns counts on both sides. Whatever else goes on in the machine makes some of them slower, by more
// than what is looked for, and none of them faster. `check.ts` takes more turns where the ratio looks bad.
// `check.ts --record` writes what it has measured to baseline.json instead.

import { join } from "node:path";
import { median } from "../../src/cli/format.ts";
import { paint, sizeText, type Turn, takeTurns } from "./contest.ts";
import { buildLimit, inBun, inC } from "./programs.ts";

const baselinePath = join(import.meta.dir, "baseline.json");

/** What may be lost. */
const TOLERANCE = 0.2;
const TURNS = 9;
/** How often a ratio that looks bad is taken. */
const ROUNDS = 3;

interface Race {
  readonly name: string;
  readonly roles: readonly string[];
  readonly mode: string;
  readonly frameSize: number;
  readonly count: number;
  readonly ringSize: number;
}

const MIB = 2 ** 20;

/** Each takes some tenths of a second a turn. */
const oneWay = (frameSize: number, count: number, ringSize: number): Race => ({
  ...{ name: `one way, ${sizeText(frameSize)}`, roles: ["read", "write"], mode: "one-way" },
  ...{ frameSize, count, ringSize },
});
const roundTrip = (frameSize: number, count: number, ringSize: number): Race => ({
  ...{ name: `round trip, ${sizeText(frameSize)}`, roles: ["ping", "serve"], mode: "round-trip" },
  ...{ frameSize, count, ringSize },
});
/** Small frames, at which two processes on two processors are as fast as the machine's mood of the moment. */
const oneThread = (frameSize: number, count: number): Race => ({
  ...{ name: `one thread, ${sizeText(frameSize)}`, roles: ["write-and-read"], mode: "one-thread" },
  ...{ frameSize, count, ringSize: MIB },
});
const races = [
  oneThread(64, 4_000_000),
  oneThread(1024, 3_000_000),
  oneWay(64 * 1024, 60_000, 16 * MIB),
  oneWay(MIB, 4000, 16 * MIB),
  roundTrip(64, 400_000, MIB),
  roundTrip(MIB, 2000, 16 * MIB),
];

/** Lets both run in turns until the API is as fast as it should be, or as often as is reasonable. */
async function measure(wanted: Race, recorded: number): Promise<number> {
  const turns: Turn[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    turns.push(...(await run(wanted)));
    if (speed(turns) >= recorded * (1 - TOLERANCE)) break;
  }
  return speed(turns);
}

/** What to expect from now on: what a round usually comes to. */
async function record(wanted: Race): Promise<number> {
  const speeds: number[] = [];
  for (let round = 0; round < ROUNDS; round++) speeds.push(speed(await run(wanted)));
  return Number(median(speeds).toFixed(3));
}

function run({ roles, mode, frameSize, count, ringSize }: Race): Promise<Turn[]> {
  return takeTurns(
    {
      API: () => inBun(roles, frameSize, count, ringSize),
      C: () => inC(mode, frameSize, count, ringSize),
    },
    TURNS,
  );
}

/** The API's best as a part of the C program's best: more is better. */
function speed(turns: readonly Turn[]): number {
  const best = (contender: string) =>
    Math.max(...turns.map((turn) => turn[contender]!.framesPerSecond ?? 1 / turn[contender]!.p50Ns!));
  return best("API") / best("C");
}

// Until the end is reached: nothing that ends this early may pass for a success.
process.exitCode = 1;
await buildLimit();
const lost: string[] = [];
if (process.argv.includes("--record")) {
  const baseline: Record<string, number> = {};
  for (const wanted of races) {
    baseline[wanted.name] = await record(wanted);
    console.log(`${wanted.name.padEnd(20)} API : C ${baseline[wanted.name]}`);
  }
  await Bun.write(baselinePath, `${JSON.stringify(baseline, undefined, 2)}\n`);
} else {
  const baseline: Record<string, number> = await Bun.file(baselinePath).json();
  for (const wanted of races) {
    const recorded = baseline[wanted.name];
    if (recorded === undefined)
      throw new Error(`nothing is recorded for "${wanted.name}": run with --record`);
    const ratio = await measure(wanted, recorded);
    const isLost = ratio < recorded * (1 - TOLERANCE);
    if (isLost) lost.push(wanted.name);
    const change = `${(100 * (ratio / recorded - 1)).toFixed(0)} %`;
    const verdict = isLost ? paint("red", "lost") : paint("green", "ok");
    console.log(
      `${wanted.name.padEnd(20)} API : C ${ratio.toFixed(3)}, recorded ${recorded.toFixed(3)}, ${change.padStart(5)}  ${verdict}`,
    );
  }
}
if (lost.length > 0) {
  console.error(`More than ${100 * TOLERANCE} % of the speed against C is lost: ${lost.join("; ")}.`);
}
process.exitCode = lost.length > 0 ? 1 : 0;
