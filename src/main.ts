#!/usr/bin/env bun
// The entry: what the arguments ask for, and the exit code of how that ended.

import { run } from "./cli/run.ts";
import { BENCH_WORKER } from "./commands/bench/plan.ts";
import { commands } from "./commands/index.ts";
import { RECORDING_THREAD } from "./commands/recording/plan.ts";

// What is still being read from a terminal or a pipe must not keep the process alive.
process.exit(await main(process.argv.slice(2)));

async function main(argv: readonly string[]): Promise<number> {
  if (argv[0] === BENCH_WORKER) return (await import("./commands/bench/worker.ts")).runWorker(argv[1]);
  if (argv[0] === RECORDING_THREAD)
    return await (await import("./commands/recording/recording-thread.ts")).runRecordingThread();
  return await run(commands, argv);
}
