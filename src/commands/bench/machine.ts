// The machine of a benchmark.

import { availableParallelism, cpus, release, type as system, totalmem } from "node:os";
import { version } from "../../../package.json";
import { bytesText, count } from "../../cli/format.ts";
import type { BenchDocument } from "../../schemas/bench.ts";

type Machine = BenchDocument["machine"];

/** This machine and its software. */
export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() || "unknown",
    processors: availableParallelism(),
    memory_bytes: totalmem(),
    kernel: `${system()} ${release()}`,
    architecture: process.arch,
    bun: Bun.version,
    version,
  };
}

/** The same in one line. */
export function machineText({ bun, cpu, kernel, memory_bytes, processors, version }: Machine): string {
  const parts = [cpu, count(processors, "processors"), bytesText(memory_bytes), kernel, `Bun ${bun}`];
  return `zerobuffer ${version} on ${parts.join(", ")}`;
}
