// The JSON document of `zerobuffer bench`.

import { type Static, Type } from "typebox";
import { WAIT_MODES } from "../core/index.ts";
import { count, ending, figure, orNull } from "./common.ts";
import { percentilesTo999 } from "./latency.ts";
import { TRANSPORTS, WORKS } from "./words.ts";

const spread = (description: string) =>
  orNull(
    Type.Object(
      {
        median: Type.Number({ minimum: 0 }),
        min: Type.Number({ minimum: 0 }),
        max: Type.Number({ minimum: 0 }),
      },
      { additionalProperties: false, description: `${description}; null where no sample has it.` },
    ),
  );

/** The percentiles of a benchmark's latencies, each as `of` says. */
const percentiles = <T extends Type.TSchema>(of: (description: string) => T, description: string) =>
  orNull(
    Type.Object(
      {
        ...percentilesTo999(of),
        p9999: of("Of 99.99 % at the most"),
        max: of("Longest"),
      },
      { additionalProperties: false, description },
    ),
  );

const workerRole = Type.Enum(["source", "sink", "initiator", "echo", "relay", "client", "server"], {
  description: "What the process does.",
});

const BenchMeasurement = Type.Object(
  {
    work: Type.Enum([...WORKS], {
      description:
        "throughput: frames one way. latency: round trips, sent back by a process that does nothing else. " +
        "relay: round trips, sent back by the loop of zerobuffer relay. duplex: requests and responses.",
    }),
    transport: Type.Enum([...TRANSPORTS], {
      description: "What the frames went through; pipe and socket with --baselines.",
    }),
    frame_size: count("Size of a frame."),
    rate: orNull(figure("Frames a second as asked for; null: as fast as possible.")),
    frames_per_second: spread("Frames, or round trips, a second"),
    throughput_mbps: spread("MiB a second, one way"),
    latency_us: percentiles(
      spread,
      "From when a frame was to be sent until it was back, in microseconds; null where frames go one way.",
    ),
    processes: Type.Array(
      Type.Object(
        {
          role: workerRole,
          cpu_percent: spread("Processor time, user and system, in percent of one processor"),
          peak_memory_bytes: spread("The most memory it had resident, shared memory included"),
        },
        { additionalProperties: false },
      ),
    ),
    samples: Type.Array(
      Type.Object(
        {
          frames: count("Frames that count, without the warm-up."),
          duration_seconds: figure("How long they took."),
          frames_per_second: orNull(figure("Null where no time passed.")),
          throughput_mbps: orNull(figure("MiB a second; null where no time passed.")),
          latency_us: percentiles(figure, "Of this sample, in microseconds."),
          processes: Type.Array(
            Type.Object(
              {
                role: workerRole,
                cpu_seconds: figure("Processor time while frames counted, user and system."),
                cpu_percent: orNull(figure("The same in percent of one processor.")),
                peak_memory_bytes: count("The most memory it had resident, shared memory included."),
              },
              { additionalProperties: false },
            ),
          ),
        },
        { additionalProperties: false },
      ),
      { description: "One for each repetition, in the order in which they were taken." },
    ),
  },
  { additionalProperties: false },
);
export type BenchMeasurement = Static<typeof BenchMeasurement>;

/** The document of `zerobuffer bench`. */
export const BenchDocument = Type.Object(
  {
    operation: Type.Literal("bench"),
    machine: Type.Object(
      {
        cpu: Type.String({ description: "Model of the processor." }),
        processors: count("Processors that this process may use."),
        memory_bytes: count("Memory of the machine."),
        kernel: Type.String({ description: "System and release." }),
        architecture: Type.String(),
        bun: Type.String({ description: "Version of Bun." }),
        version: Type.String({ description: "Version of zerobuffer." }),
      },
      { additionalProperties: false },
    ),
    settings: Type.Object(
      {
        works: Type.Array(Type.Enum([...WORKS])),
        sizes: Type.Array(count("Bytes."), { description: "--sizes" }),
        rates: Type.Array(figure("Frames a second; 0: as fast as possible."), { description: "--rate" }),
        frames: orNull(count("--frames; null: the duration decides.")),
        duration_ms: orNull(figure("--duration; null with --frames.")),
        warm_up: figure("What comes before each sample and is not counted, as a part of its length."),
        repeat: count("Samples of each measurement."),
        batch_size: count("Frames of one call, in throughput without a rate."),
        wait: Type.Enum([...WAIT_MODES], { description: "How processes wait for each other." }),
        buffer_size: count("Size of the rings."),
        baselines: Type.Boolean({ description: "Whether pipes and sockets were measured, too." }),
      },
      { additionalProperties: false },
    ),
    measurements: Type.Array(BenchMeasurement),
    report: orNull(Type.String({ description: "Path of the page that was written; null without --report." })),
    ...ending,
  },
  { additionalProperties: false },
);
export type BenchDocument = Static<typeof BenchDocument>;
