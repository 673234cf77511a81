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
      { additionalProperties: false, description: `${description}; null if no sample has it.` },
    ),
  );

/** The percentiles of a benchmark's latencies, each with a schema made by `of`. */
const percentiles = <T extends Type.TSchema>(of: (description: string) => T, description: string) =>
  orNull(
    Type.Object(
      {
        ...percentilesTo999(of),
        p9999: of("99.99th percentile"),
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
        "throughput: frames one way. latency: round trips through a process that only sends frames back. " +
        "relay: round trips through the loop of zerobuffer relay. fanout: frames one way through it to three readers. duplex: requests and responses.",
    }),
    transport: Type.Enum([...TRANSPORTS], {
      description: "What the frames went through; pipe and socket only with --baselines.",
    }),
    frame_size: count("Size of a frame."),
    rate: orNull(figure("Frames per second (--rate); null: as fast as possible.")),
    batch_size: count(
      "Frames of each call: those of --batch-size for throughput without a rate, otherwise 1.",
    ),
    frames_per_second: spread("Frames, or round trips, per second"),
    throughput_mbps: spread("MiB per second, one way"),
    latency_us: percentiles(
      spread,
      "From when a frame was due until it was back, in microseconds; null if frames go one way.",
    ),
    processes: Type.Array(
      Type.Object(
        {
          role: workerRole,
          cpu_percent: spread("Processor time, user and system, in percent of one processor"),
          peak_memory_bytes: spread("Peak resident memory in bytes, shared memory included"),
        },
        { additionalProperties: false },
      ),
    ),
    samples: Type.Array(
      Type.Object(
        {
          frames: count("Frames, without the warm-up."),
          duration_seconds: figure("The time they took."),
          frames_per_second: orNull(figure("Frames per second; null if no time passed.")),
          throughput_mbps: orNull(figure("MiB per second; null if no time passed.")),
          latency_us: percentiles(figure, "Latencies of this sample, in microseconds."),
          processes: Type.Array(
            Type.Object(
              {
                role: workerRole,
                cpu_seconds: figure("Processor time during the sample, user and system."),
                cpu_percent: orNull(figure("The same in percent of one processor; null if no time passed.")),
                peak_memory_bytes: count("Peak resident memory, shared memory included."),
              },
              { additionalProperties: false },
            ),
          ),
        },
        { additionalProperties: false },
      ),
      { description: "One per repetition, in the order in which they were taken." },
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
        processors: count("Number of processors that this process may use."),
        memory_bytes: count("Memory of the machine."),
        kernel: Type.String({ description: "Operating system and release." }),
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
        rates: Type.Array(figure("Frames per second; 0: as fast as possible."), { description: "--rate" }),
        frames: orNull(count("--frames; null if the duration decides.")),
        duration_ms: orNull(figure("--duration; null with --frames.")),
        warm_up: figure(
          "Length of the uncounted warm-up before each sample, as a part of the length of the sample.",
        ),
        repeat: count("Samples per measurement."),
        batch_size: count("--batch-size"),
        wait: Type.Enum([...WAIT_MODES], { description: "How processes wait for each other." }),
        buffer_size: count("Size of the rings."),
        sharing: Type.Boolean({ description: "Whether relays passed frames on without a copy (--sharing)." }),
        baselines: Type.Boolean({ description: "Whether pipes and sockets were measured (--baselines)." }),
      },
      { additionalProperties: false },
    ),
    measurements: Type.Array(BenchMeasurement),
    report: orNull(Type.String({ description: "Path of the page of charts; null without --report." })),
    ...ending,
  },
  { additionalProperties: false },
);
export type BenchDocument = Static<typeof BenchDocument>;
