// The lines that commands print with --json-lines.

import { type Static, Type } from "typebox";
import { count, figure } from "./common.ts";

const time = Type.String({ format: "date-time", description: "When it happened, in UTC." });
const buffer = Type.String({ description: "Name of the buffer, or of the channel." });

function event<Name extends string, Fields extends Record<string, Type.TSchema>>(
  name: Name,
  description: string,
  fields: Fields,
) {
  return Type.Object(
    { event: Type.Literal(name), time, ...fields },
    { additionalProperties: false, description },
  );
}

/** One line of --json-lines. */
export const EventDocument = Type.Union(
  [
    event("started", "The arguments are right, and work begins.", {
      operation: Type.String({ description: "What the command does." }),
      pid: count("Its process id."),
    }),
    event(
      "ready",
      "A buffer was made, a server listens, or a subscriber of a bridge does: a peer can connect to it.",
      {
        buffer: Type.Optional(buffer),
        address: Type.Optional(Type.String({ description: "Address of the server." })),
      },
    ),
    event("peer", "A process at the other end has come, has left or has died.", {
      buffer,
      role: Type.Enum(["writer", "reader", "client", "server"], { description: "What that process is." }),
      change: Type.Enum(["came", "left", "died"], { description: "What has become of it." }),
    }),
    event("progress", "How far the command is, once a second (--interval-ms).", {
      frames: count("Frames so far: written, read, relayed, answered, or responses received."),
      bytes: count("Bytes of those frames."),
      frames_per_second: figure("Frames per second since the last event of this kind."),
      bytes_per_second: figure("Bytes per second since then."),
      step: Type.Optional(Type.String({ description: "What bench is measuring." })),
    }),
    Type.Object(
      { event: Type.Literal("snapshot"), time },
      { description: "What top, list --watch or inspect --watch has seen: the fields of its document." },
    ),
    event("warning", "A problem that does not end the command.", {
      message: Type.String({ description: "What happened." }),
    }),
    Type.Object(
      { event: Type.Literal("result"), time, errors: Type.Array(Type.String()) },
      { description: "The last line: the document of --json-output." },
    ),
  ],
  { description: "One line of --json-lines." },
);
export type EventDocument = Static<typeof EventDocument>;
