// Fails where the API has lost more than a fifth of its speed against the C program, compared with what is recorded.
//
// The best of several turns counts on both sides. Whatever else goes on in the machine makes some of them slower, by more
// than what is looked for, and none of them faster. `check.ts` takes more turns where the ratio looks bad.
// `check.ts --record` writes what it has measured to baseline.json instead.

import { join } from "node:path";
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
async function measure(wanted: Race, recorded: number | undefined): Promise<number> {
  const { roles, mode, frameSize, count, ringSize } = wanted;
  const turns: Turn[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    turns.push(
      ...(await takeTurns(
        {
          API: () => inBun(roles, frameSize, count, ringSize),
          C: () => inC(mode, frameSize, count, ringSize),
        },
        TURNS,
      )),
    );
    if (recorded === undefined || speed(turns) >= recorded * (1 - TOLERANCE)) break;
  }
  return speed(turns);
}

/** The API's best as a part of the C program's best: more is better. */
function speed(turns: readonly Turn[]): number {
  const best = (contender: string) =>
    Math.max(...turns.map((turn) => turn[contender]!.framesPerSecond ?? 1 / turn[contender]!.p50Ns!));
  return best("API") / best("C");
}

// Until the end is reached: nothing that ends this early may pass for a success.
process.exitCode = 1;
const records = process.argv.includes("--record");
const baseline: Record<string, number> = records ? {} : await Bun.file(baselinePath).json();
await buildLimit();
const lost: string[] = [];
for (const wanted of races) {
  const { name } = wanted;
  const recorded = baseline[name];
  const ratio = await measure(wanted, recorded);
  const figures = `${name.padEnd(20)} API : C ${ratio.toFixed(3)}`;
  if (records) {
    baseline[name] = Number(ratio.toFixed(3));
    console.log(figures);
    continue;
  }
  if (recorded === undefined) throw new Error(`nothing is recorded for "${name}": run with --record`);
  const isLost = ratio < recorded * (1 - TOLERANCE);
  if (isLost) lost.push(name);
  const change = `${(100 * (ratio / recorded - 1)).toFixed(0)} %`;
  console.log(
    `${figures}, recorded ${recorded.toFixed(3)}, ${change.padStart(5)}  ${isLost ? paint("red", "lost") : paint("green", "ok")}`,
  );
}
if (records) await Bun.write(baselinePath, `${JSON.stringify(baseline, undefined, 2)}\n`);
if (lost.length > 0) {
  console.error(`More than ${100 * TOLERANCE} % of the speed against C is lost: ${lost.join("; ")}.`);
}
process.exitCode = lost.length > 0 ? 1 : 0;
