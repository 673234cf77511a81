// The JSON document of `zerobuffer bridge publish`.

import { type Static, Type } from "typebox";
import { buffer, count, ending, orNull, speed } from "./common.ts";

/** The document of `zerobuffer bridge publish`. */
export const BridgePublishDocument = Type.Object(
  {
    operation: Type.Literal("bridge-publish"),
    buffer_name: buffer,
    server: orNull(Type.String({ description: "Address of the NATS server, without user and password." })),
    subject: orNull(Type.String({ description: "Subject of the frames." })),
    stream: orNull(Type.String({ description: "Name of the JetStream stream (--stream)." })),
    run: orNull(Type.String({ description: "Name of this run, in every message." })),
    frames_published: count(
      "Frames sent: a subscriber received each of them, or counts it as lost or dropped.",
    ),
    frames_dropped: count(
      "Frames dropped while the server was away (--on-outage drop), or when a signal came.",
    ),
    frames_resent: count("Frames sent again because the server was away."),
    bytes_published: count("Bytes of the published frames."),
    metadata_size: count("Bytes of the metadata that was sent last."),
    outages: count("How often the server went away."),
    ...speed,
    ...ending,
  },
  { additionalProperties: false },
);
export type BridgePublishDocument = Static<typeof BridgePublishDocument>;
