// The JSON documents of the commands, as schemas. The commands import only their types: at run time nobody loads this.

import { type Static, Type } from "typebox";
import { PATTERNS } from "../core/patterns.ts";
import { TRANSFORMS } from "../core/transforms.ts";
import type { FailureCode } from "./failure.ts";

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
    empty_lines_skipped: count("Empty lines of the input, which make no frames (--framing lines)."),
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
    duration_seconds: figure("From the first request to the last response."),
    requests_per_second: orNull(figure("Responses a second; null where no time passed.")),
    latency_us: Type.Object(
      {
        min: latency("Shortest"),
        mean: latency("Mean"),
        p50: latency("Median"),
        p90: latency("Of 90 % at the most"),
        p99: latency("Of 99 % at the most"),
        p999: latency("Of 99.9 % at the most"),
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

/** The document of the program itself: of `--help`, `--version`, and of a command that does not exist. */
export const ProgramDocument = Type.Object(
  {
    operation: orNull(Type.Enum(["help", "version"])),
    help: Type.Optional(Type.String({ description: "The page (--help)." })),
    version: Type.Optional(Type.String({ description: "The version (--version)." })),
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
  program: ProgramDocument,
};
