// The JSON document of `zerobuffer inspect`.

import { type Static, Type } from "typebox";
import { bufferState } from "./buffer-state.ts";
import { buffer, count, ending, orNull } from "./common.ts";

const accountName = (what: string) =>
  orNull(Type.String({ description: `Name of its ${what}; null if it has none on this machine.` }));

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
          oieb_size: count("Size of the control block: 128 bytes."),
          version: Type.String({ description: "Version of the protocol: 1.0.0." }),
          metadata_size: count("Bytes reserved for metadata."),
          metadata_free_bytes: count("Free bytes of these."),
          metadata_written_bytes: count("Written bytes of these: 8 for the length, and the metadata."),
          payload_size: count("Bytes of the ring."),
          payload_free_bytes: count("Free bytes of these."),
          payload_write_pos: count("Offset at which the next frame is written."),
          payload_read_pos: count("Offset at which the next frame is read."),
          payload_written_count: count("Frames written."),
          payload_read_count: count("Frames read."),
          writer_pid: count("Process id of the writer; 0: none."),
          reader_pid: count("Process id of the reader; 0: none."),
          answer: Type.String({
            description:
              "Answer to the last attachment of a source: its id if it was accepted, id + 1 if it was refused; 0: none.",
          }),
          released_descriptors: count("Descriptors released so far."),
          mark: count("Process id of the writer if it locks its role; 0: none, or one of version 1."),
          flags: count(
            "Bit 0: created by its writer. Bit 1: sequence numbers may come in any order. Bit 2: its reader takes descriptors. Bit 3: cancellations of a duplex channel. Bit 4: its reader locks its role.",
          ),
        },
        {
          additionalProperties: false,
          description: "The control block; numbers are exact up to 2^53.",
        },
      ),
    ),
    cancellation: orNull(
      Type.Enum(["heeded", "table"], {
        description:
          "Of a duplex channel's buffer of requests: its server heeds cancellations. Of responses: there is a table of them. " +
          "null: neither.",
      }),
    ),
    semaphores: Type.Object(
      {
        written: orNull(
          count("Tokens for written frames; null if the semaphore is missing or cannot be read."),
        ),
        released: orNull(count("Tokens for released frames; null as above.")),
      },
      { additionalProperties: false },
    ),
    metadata: orNull(
      Type.Object(
        {
          size_bytes: count("Size of the metadata."),
          encoding: Type.Enum(["text", "hex"], { description: "Encoding of the preview." }),
          preview: Type.String({ description: "The first 256 bytes." }),
          truncated: Type.Boolean({ description: "Whether the metadata is longer than the preview." }),
        },
        { additionalProperties: false, description: "The metadata of the writer; null if it sent none." },
      ),
    ),
    files: Type.Array(
      Type.Object(
        {
          path: Type.String({ description: "Path of the file." }),
          owner: accountName("owner"),
          uid: orNull(count("User id of its owner; null on Windows.")),
          group: accountName("group"),
          gid: orNull(count("Id of its group; null on Windows.")),
          mode: Type.String({ pattern: "^[0-7]{4}$", description: "Its permission bits in octal." }),
        },
        { additionalProperties: false },
      ),
      { description: "The files of the buffer: shared memory and semaphores (on Linux), and lock files." },
    ),
    ...ending,
  },
  { additionalProperties: false },
);
export type InspectDocument = Static<typeof InspectDocument>;
