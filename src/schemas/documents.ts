// The JSON documents of the commands, as schemas. The commands import only their types: at run time nobody loads this.

import { type Static, Type } from "typebox";
import type { FailureCode } from "../cli/failure.ts";
import { TRANSPORTS, WORKS } from "../commands/bench/plan.ts";
import { SHELLS } from "../commands/completion/command.ts";
import { WAIT_MODES } from "../core/config.ts";
import { PATTERNS } from "../frames/patterns.ts";
import { TRANSFORMS } from "../frames/transforms.ts";

const FAILURE_CODES = [
  "BUFFER_NOT_FOUND",
  "PEER_TIMEOUT",
  "WRITER_ALREADY_CONNECTED",
  "READER_ALREADY_CONNECTED",
  "RESOURCE_EXHAUSTED",
  "PERMISSION_DENIED",
  "TIMEOUT",
  "BUFFER_FULL",
  "READER_DEAD",
  "WRITER_DEAD",
  "INCOMPLETE",
  "IO_ERROR",
  "METADATA_ALREADY_WRITTEN",
  "USAGE",
  "FRAME_TOO_LARGE",
  "INVALID_FRAME_SIZE",
  "METADATA_TOO_LARGE",
  "INVALID_NAME",
  "VERIFICATION_FAILED",
  "SEQUENCE_ERROR",
  "CORRUPT_BUFFER",
  "INTERNAL",
  "CLOSED",
  "INTERRUPTED",
] as const satisfies readonly FailureCode[];

const count = (description: string) => Type.Integer({ minimum: 0, description });
const figure = (description: string) => Type.Number({ minimum: 0, description });
const orNull = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

const buffer = orNull(Type.String({ description: "Name of the buffer; null where none was given." }));

/** What ends every document. */
const ending = {
  errors: Type.Array(Type.String(), {
    description: "Everything that went wrong, in order; empty on success.",
  }),
  error: Type.Optional(
    Type.Object(
      {
        code: Type.Enum([...FAILURE_CODES], { description: "Stable; decides the exit code." }),
        message: Type.String({ description: "What happened." }),
        hint: orNull(Type.String({ description: "What to do next." })),
      },
      { additionalProperties: false, description: "The failure that ended the command; absent on success." },
    ),
  ),
};

const speed = {
  duration_seconds: figure("From the first frame to the last."),
  throughput_mbps: orNull(figure("MiB a second; null where no time passed.")),
  frames_per_second: orNull(figure("Frames a second; null where no time passed.")),
};

const emptyLinesSkipped = count("Empty lines of the input, which make no frames (--framing lines).");

/** The document of `zerobuffer writer`. */
export const WriterDocument = Type.Object(
  {
    operation: Type.Literal("write"),
    buffer_name: buffer,
    frames_written: count("Frames written into the buffer."),
    frames_dropped: count("Frames dropped because the buffer was full (--on-full drop)."),
    bytes_written: count("Bytes of the frames written."),
    frame_size: orNull(count("Size of a frame as asked for; null where the framing decides.")),
    metadata_size: count("Bytes of metadata sent."),
    ...speed,
    pattern: orNull(Type.Enum([...PATTERNS], { description: "What the frames held; null with --input." })),
    empty_lines_skipped: emptyLinesSkipped,
    waits: count("How often a write found the buffer full."),
    ...ending,
  },
  { additionalProperties: false },
);
export type WriterDocument = Static<typeof WriterDocument>;

/** The document of `zerobuffer reader`. */
export const ReaderDocument = Type.Object(
  {
    operation: Type.Literal("read"),
    buffer_name: buffer,
    frames_read: count("Frames read from the buffer."),
    bytes_read: count("Bytes of the frames read."),
    frame_size: count("Size of a frame: the one asked for, or else that of the first frame."),
    metadata_size: count("Bytes of metadata received; with --follow, from the latest writer that sent any."),
    ...speed,
    verification_errors: count("Frames that are not as --verify or --size want them."),
    first_error_frame: orNull(count("Number of the first such frame, from 0; null if there is none.")),
    checksums: Type.Array(
      Type.Object(
        {
          frame: count("Number of the frame, from 0."),
          checksum: Type.String({
            pattern: "^[0-9a-f]{32}$",
            description: "MD5 of its bytes, in hexadecimal.",
          }),
        },
        { additionalProperties: false },
      ),
      { maxItems: 100, description: "Of the first 100 frames (--checksum)." },
    ),
    ...ending,
  },
  { additionalProperties: false },
);
export type ReaderDocument = Static<typeof ReaderDocument>;

/** The document of `zerobuffer relay`. */
export const RelayDocument = Type.Object(
  {
    operation: Type.Literal("relay"),
    input_buffer: buffer,
    output_buffer: buffer,
    frames_relayed: count("Frames passed on into the output buffer."),
    metadata_relayed: Type.Boolean({ description: "Whether metadata came, and was passed on." }),
    metadata_size: count("Bytes of that metadata."),
    total_bytes: count("Bytes of the frames passed on."),
    ...speed,
    transform: Type.Enum([...TRANSFORMS], { description: "What was done to the bytes of each frame." }),
    ...ending,
  },
  { additionalProperties: false },
);
export type RelayDocument = Static<typeof RelayDocument>;

const channel = orNull(Type.String({ description: "Name of the channel; null where none was given." }));

/** The document of `zerobuffer duplex serve`. */
export const DuplexServeDocument = Type.Object(
  {
    operation: Type.Literal("duplex-serve"),
    channel,
    requests: count("Requests handled."),
    responses: count("Responses written."),
    handler_errors: count("Requests without a response, because their handler failed."),
    clients: count("Clients that have sent requests."),
    bytes_in: count("Bytes of the requests."),
    bytes_out: count("Bytes of the responses."),
    duration_seconds: figure("From the first request to the last."),
    ...ending,
  },
  { additionalProperties: false },
);
export type DuplexServeDocument = Static<typeof DuplexServeDocument>;

/** What every document tells of latencies but the longest, each as `of` says. */
const percentilesTo999 = <T extends Type.TSchema>(of: (description: string) => T) => ({
  min: of("Shortest"),
  mean: of("Mean"),
  p50: of("Median"),
  p90: of("Of 90 % at the most"),
  p99: of("Of 99 % at the most"),
  p999: of("Of 99.9 % at the most"),
});

const latency = (description: string) => orNull(figure(`${description}; null without a response.`));

/** The document of `zerobuffer duplex request`. */
export const DuplexRequestDocument = Type.Object(
  {
    operation: Type.Literal("duplex-request"),
    channel,
    requests: count("Requests sent."),
    responses: count("Responses received in time."),
    timeouts: count("Requests without a response in time."),
    verification_errors: count("Responses that are not as --verify wants them."),
    first_error_request: orNull(count("Number of the first such request, from 0; null if there is none.")),
    bytes_sent: count("Bytes of the requests."),
    bytes_received: count("Bytes of the responses."),
    metadata_size: count("Bytes of metadata sent."),
    empty_lines_skipped: emptyLinesSkipped,
    duration_seconds: figure("From the first request to the last response."),
    requests_per_second: orNull(figure("Responses a second; null where no time passed.")),
    latency_us: Type.Object(
      {
        ...percentilesTo999(latency),
        max: latency("Longest"),
      },
      {
        additionalProperties: false,
        description:
          "From the sending of a request (with --rate: from when it was due) to its response, in microseconds.",
      },
    ),
    latency_histogram: Type.Array(
      Type.Object(
        {
          below_us: figure("Upper end of the range in microseconds; the lower end is half of it."),
          count: count("Responses that took that long."),
        },
        { additionalProperties: false },
      ),
      { description: "A range for each doubling, from the shortest latency to the longest." },
    ),
    ...ending,
  },
  { additionalProperties: false },
);
export type DuplexRequestDocument = Static<typeof DuplexRequestDocument>;

const participant = orNull(
  Type.Object(
    {
      pid: count("Process id as the buffer holds it; 0 where the lock is held and no id is stored."),
      command: orNull(Type.String({ description: "Its command line; null where it cannot be read." })),
      alive: Type.Boolean({ description: "Whether that process lives and takes part in the buffer." }),
    },
    { additionalProperties: false },
  ),
);

/** What list and inspect tell of a buffer alike. */
const bufferState = {
  state: orNull(
    Type.Enum(["live", "idle", "orphan", "stale", "corrupt"], {
      description:
        "live: writer and reader live; idle: the reader alone; orphan: the writer alone; stale: neither; " +
        "corrupt: the control block is refused; null: it may not be read.",
    }),
  ),
  fault: orNull(Type.String({ description: "Why it is corrupt or cannot be read." })),
  size_bytes: orNull(count("Bytes of shared memory; null where only a lock file is left.")),
  payload_size: orNull(count("Bytes of the ring.")),
  used_bytes: orNull(count("Bytes of the ring that are not free: unread or held frames.")),
  used_percent: orNull(figure("The same in percent of the ring.")),
  frames_written: orNull(count("Frames written since it was made, wrap markers included.")),
  frames_read: orNull(count("Frames read since it was made; some implementations count wrap markers.")),
  frames_per_second: orNull(
    figure("Frames written a second, measured over --interval-ms; null where that was not measured."),
  ),
  writer: participant,
  reader: participant,
};

const BufferEntry = Type.Object(
  { buffer_name: Type.String(), ...bufferState },
  { additionalProperties: false },
);
export type BufferEntry = Static<typeof BufferEntry>;

/** The document of `zerobuffer list`. */
export const ListDocument = Type.Object(
  {
    operation: Type.Literal("list"),
    buffers: Type.Array(BufferEntry, { description: "By name." }),
    ...ending,
  },
  { additionalProperties: false },
);
export type ListDocument = Static<typeof ListDocument>;

/** The document of `zerobuffer inspect`. */
export const InspectDocument = Type.Object(
  {
    operation: Type.Literal("inspect"),
    buffer_name: buffer,
    ...bufferState,
    health: orNull(
      Type.Enum(["healthy", "degraded", "critical"], {
        description: "By used_percent: healthy below 80, degraded to 95, critical above.",
      }),
    ),
    oieb: orNull(
      Type.Object(
        {
          oieb_size: count("Of the control block itself, in bytes: 128."),
          version: Type.String({ description: "Of the protocol: 1.0.0." }),
          metadata_size: count("Bytes for metadata."),
          metadata_free_bytes: count("Of these, free."),
          metadata_written_bytes: count("Of these, written: 8 for the length, and the metadata."),
          payload_size: count("Bytes of the ring."),
          payload_free_bytes: count("Of these, free."),
          payload_write_pos: count("Where the next frame goes."),
          payload_read_pos: count("Where the next frame is read."),
          payload_written_count: count("Frames written."),
          payload_read_count: count("Frames read."),
          writer_pid: count("Process id of the writer; 0: none."),
          reader_pid: count("Process id of the reader; 0: none."),
          flags: count("Bit 0: made by its writer. Bit 1: any order of sequence numbers is accepted."),
        },
        {
          additionalProperties: false,
          description: "The control block as it stands there; exact up to 2^53.",
        },
      ),
    ),
    semaphores: Type.Object(
      {
        written: orNull(count("Tokens for frames written; null where it is missing or may not be read.")),
        released: orNull(count("Tokens for frames released; likewise.")),
      },
      { additionalProperties: false },
    ),
    metadata: orNull(
      Type.Object(
        {
          size_bytes: count("Of all of it."),
          encoding: Type.Enum(["text", "hex"], { description: "How the preview is written." }),
          preview: Type.String({ description: "Its first 256 bytes." }),
          truncated: Type.Boolean({ description: "Whether there is more than the preview." }),
        },
        { additionalProperties: false, description: "What the writer has sent; null if it has sent none." },
      ),
    ),
    ...ending,
  },
  { additionalProperties: false },
);
export type InspectDocument = Static<typeof InspectDocument>;

/** The document of `zerobuffer clean`. */
export const CleanDocument = Type.Object(
  {
    operation: Type.Literal("clean"),
    dry_run: Type.Boolean({ description: "Whether nothing was changed (--dry-run)." }),
    removed: Type.Array(
      Type.Object(
        {
          buffer_name: Type.String(),
          paths: Type.Array(Type.String(), { description: "The files removed, or that would be." }),
          bytes: count("Their size."),
        },
        { additionalProperties: false },
      ),
    ),
    left: Type.Array(
      Type.Object(
        {
          buffer_name: Type.String(),
          code: Type.Enum(
            [
              "READER_ALREADY_CONNECTED",
              "WRITER_ALREADY_CONNECTED",
              "PERMISSION_DENIED",
              "RESOURCE_EXHAUSTED",
              "CORRUPT_BUFFER",
            ],
            { description: "As in error.code, where the buffer was named on the command line." },
          ),
          reason: Type.String({ description: "Why it was left." }),
        },
        { additionalProperties: false },
      ),
    ),
    bytes_freed: count("Size of all that was removed, or would be."),
    ...ending,
  },
  { additionalProperties: false },
);
export type CleanDocument = Static<typeof CleanDocument>;

/** The document of `zerobuffer doctor`. */
export const DoctorDocument = Type.Object(
  {
    operation: Type.Literal("doctor"),
    checks: Type.Array(
      Type.Object(
        {
          check: Type.String({ description: "What was looked at." }),
          status: Type.Enum(["ok", "warning", "error"], { description: "error: buffers cannot be used." }),
          message: Type.String({ description: "What was found." }),
          remedy: orNull(Type.String({ description: "The command that mends it." })),
        },
        { additionalProperties: false },
      ),
    ),
    ...ending,
  },
  { additionalProperties: false },
);
export type DoctorDocument = Static<typeof DoctorDocument>;

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

/** The document of `zerobuffer completion`. */
export const CompletionDocument = Type.Object(
  {
    operation: Type.Literal("completion"),
    shell: orNull(Type.Enum([...SHELLS], { description: "The shell asked for." })),
    script: orNull(Type.String({ description: "What that shell is to run; null where none was named." })),
    ...ending,
  },
  { additionalProperties: false },
);
export type CompletionDocument = Static<typeof CompletionDocument>;

/** The document of `zerobuffer complete`, which the scripts of `zerobuffer completion` ask. */
export const CompleteDocument = Type.Object(
  {
    operation: Type.Literal("complete"),
    files: Type.Boolean({ description: "Whether the shell is to offer files." }),
    offers: Type.Array(
      Type.Object(
        {
          value: Type.String({ description: "The whole word." }),
          description: Type.String({ description: "What it is, in one line; may be empty." }),
        },
        { additionalProperties: false },
      ),
    ),
    ...ending,
  },
  { additionalProperties: false },
);
export type CompleteDocument = Static<typeof CompleteDocument>;

/** The document of the program itself: of `--help`, `--version`, and of a command that does not exist. */
export const ProgramDocument = Type.Object(
  {
    operation: orNull(Type.Enum(["help", "version"])),
    help: Type.Optional(Type.String({ description: "The page (--help)." })),
    version: Type.Optional(Type.String({ description: "The version (--version)." })),
    commit: Type.Optional(
      Type.String({
        pattern: "^([0-9a-f]{40}(-dirty)?|unknown)$",
        description: "The commit it was built from; -dirty: with changes (--version).",
      }),
    ),
    protocol: Type.Optional(Type.String({ description: "The version of the protocol (--version)." })),
    target: Type.Optional(
      Type.String({ description: "System, processor and C library: linux-x64-musl (--version)." }),
    ),
    bun: Type.Optional(Type.String({ description: "The version of Bun inside (--version)." })),
    ...ending,
  },
  { additionalProperties: false },
);

/** The schemas to publish, by the name of their file. */
export const documents = {
  writer: WriterDocument,
  reader: ReaderDocument,
  relay: RelayDocument,
  "duplex-serve": DuplexServeDocument,
  "duplex-request": DuplexRequestDocument,
  bench: BenchDocument,
  list: ListDocument,
  inspect: InspectDocument,
  clean: CleanDocument,
  doctor: DoctorDocument,
  completion: CompletionDocument,
  complete: CompleteDocument,
  program: ProgramDocument,
};
