// The JSON document of `zerobuffer metrics`.

import { type Static, Type } from "typebox";
import { count, ending, orNull } from "./common.ts";

/** What is measured of every buffer, as OpenMetrics has it. */
export const MetricFamily = Type.Object(
  {
    name: Type.String({
      description: "Name of the family; samples of counters have _total or _created behind it.",
    }),
    type: Type.Enum(["counter", "gauge", "info", "stateset"]),
    unit: orNull(Type.String({ description: "Unit, with which the name ends." })),
    help: Type.String({ description: "What is measured." }),
    samples: Type.Array(
      Type.Object(
        {
          name: Type.String(),
          labels: Type.Record(Type.String(), Type.String()),
          value: Type.Number(),
        },
        { additionalProperties: false },
      ),
    ),
  },
  { additionalProperties: false },
);
export type MetricFamily = Static<typeof MetricFamily>;

/** The document of `zerobuffer metrics`. */
export const MetricsDocument = Type.Object(
  {
    operation: Type.Literal("metrics"),
    address: orNull(Type.String({ description: "Where it has listened (--listen); null if it has not." })),
    scrapes: count("How often the metrics were fetched from there."),
    families: Type.Array(MetricFamily, { description: "The metrics; none with --listen." }),
    ...ending,
  },
  { additionalProperties: false },
);
export type MetricsDocument = Static<typeof MetricsDocument>;
