// The JSON document of `zerobuffer bridge subscribe`.

import { type Static, Type } from "typebox";
import { agesUs, buffer, count, ending, orNull, speed } from "./common.ts";

/** The document of `zerobuffer bridge subscribe`. */
export const BridgeSubscribeDocument = Type.Object(
  {
    operation: Type.Literal("bridge-subscribe"),
    buffer_name: buffer,
    server: orNull(Type.String({ description: "Address of the NATS server, without user and password." })),
    subject: orNull(Type.String({ description: "Subject of the frames." })),
    queue: orNull(Type.String({ description: "Queue group that shares the frames (--queue)." })),
    stream: orNull(Type.String({ description: "Name of the JetStream stream (--stream)." })),
    durable: orNull(Type.String({ description: "Name of the durable consumer (--durable)." })),
    frames_received: count("Frames that were written to the buffer."),
    bytes_received: count("Bytes of those frames."),
    frames_lost: count("Frames that the publisher has sent and that have not come, or not wholly."),
    frames_torn: count("Frames of which only some parts have come."),
    frames_dropped: count(
      "Frames dropped because the buffer was full, or had no reader, and because too much waited in memory.",
    ),
    frames_too_large: count("Frames dropped because they do not fit the buffer."),
    frames_duplicate: count("Frames that came again, and were not written again."),
    frames_refused: count("Messages with frames of a second publisher, while the first one lived."),
    messages_refused: count("Messages that no correct publisher sends."),
    publishers: count("Runs of publishers that frames were received from, one after another."),
    metadata_size: count("Bytes of the metadata that was received last."),
    is_shared: Type.Boolean({
      description: "Whether another subscriber uses the same durable consumer, and tears frames.",
    }),
    outages: count("How often the server went away."),
    reconnects: count("How often it went on with another reader of the buffer (--follow)."),
    age_us: Type.Object(agesUs.properties, {
      additionalProperties: false,
      description:
        "How long frames took from the publisher to the buffer, in microseconds by the clocks of both machines; null without any.",
    }),
    ...speed,
    ...ending,
  },
  { additionalProperties: false },
);
export type BridgeSubscribeDocument = Static<typeof BridgeSubscribeDocument>;
