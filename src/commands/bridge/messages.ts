// Messages of NATS as a receiver takes them.

import type { Msg, MsgHdrs } from "@nats-io/transport-node";
import { HEADERS, type HeaderSource, type Mark, readMark, readPart } from "../../frames/wire.ts";
import type { Arrival } from "./receiver.ts";
import type { Subjects } from "./subjects.ts";

/** The parts of a message that are read. */
interface Message extends Pick<Msg, "subject" | "data"> {
  readonly headers?: MsgHdrs | undefined;
}

/** What a message says; undefined if no correct publisher sends it, and nothing for what only signs of life are. */
export function readArrival(message: Message, subjects: Subjects): Arrival | undefined {
  const header = headerOf(message);
  const { subject, data } = message;
  if (subject === subjects.frames) {
    const mark = readPart(header, data.length);
    return mark && { kind: "part", mark, data };
  }
  const mark = readMark(header);
  if (mark === undefined) return undefined;
  if (subject === subjects.metadata) return { kind: "metadata", mark, data: new Uint8Array(data) };
  return subject === subjects.end
    ? { kind: "end", mark, hasDied: header(HEADERS.end) === "died" }
    : undefined;
}

/** The sign of life that a message is; undefined if no correct publisher sends it. */
export function readSign(message: Message): Mark | undefined {
  return readMark(headerOf(message));
}

/** The client looks through all headers for each one that it is asked for. */
function headerOf({ headers }: Message): HeaderSource {
  const values: Record<string, string | undefined> = Object.create(null);
  for (const [name, [value]] of headers ?? []) values[name] = value;
  return (name) => values[name] ?? "";
}
