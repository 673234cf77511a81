// How latencies are told: in the documents of duplex request and bench.

import type { Type } from "typebox";

/** What every document tells of latencies but the longest, each as `of` says. */
export const percentilesTo999 = <T extends Type.TSchema>(of: (description: string) => T) => ({
  min: of("Shortest"),
  mean: of("Mean"),
  p50: of("Median"),
  p90: of("Of 90 % at the most"),
  p99: of("Of 99 % at the most"),
  p999: of("Of 99.9 % at the most"),
});
