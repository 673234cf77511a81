// Latencies in the documents of duplex request and bench.

import type { Type } from "typebox";

/** The percentiles that both documents have, each with a schema made by `of`. */
export const percentilesTo999 = <T extends Type.TSchema>(of: (description: string) => T) => ({
  min: of("Shortest"),
  mean: of("Mean"),
  p50: of("Median"),
  p90: of("90th percentile"),
  p99: of("99th percentile"),
  p999: of("99.9th percentile"),
});
