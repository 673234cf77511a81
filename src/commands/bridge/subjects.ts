// The subjects of a bridge.

import { CommandError } from "../../cli/failure.ts";
import { text } from "../../cli/options.ts";

/** The token below the subject of the frames that everything else has. No buffer's default subject has it. */
const OWN = "_zb";

/** The subjects of one stream of frames. */
export interface Subjects {
  readonly frames: string;
  readonly metadata: string;
  readonly alive: string;
  readonly end: string;
  /** Where a subscriber asks for the metadata. */
  readonly request: string;
}

export const subjectOption = text({
  group: "Broker",
  description: "use this subject for frames",
  note: "Everything else goes to subjects below that of the frames, which start with _zb.",
  valueHint: "SUBJECT",
  shown: "zerobuffer.<buffer>",
});

/** A name of the broker's: of a stream, a consumer or a queue group. */
export function brokerName(flag: string, name: string | undefined): void {
  if (name === undefined || /^[A-Za-z0-9_-]{1,200}$/.test(name)) return;
  throw new CommandError(
    "USAGE",
    `Option ${flag} takes 1 to 200 of the characters A-Z a-z 0-9 _ -, not ${JSON.stringify(name)}.`,
  );
}

/** The subjects of a buffer. */
export function subjectsOf(buffer: string, given: string | undefined): Subjects {
  const frames = given ?? `zerobuffer.${buffer}`;
  const tokens = frames.split(".");
  const isFine =
    tokens.every((token) => /^[^\s.*>\p{Cc}]+$/u.test(token) && token !== OWN) && !frames.startsWith("$");
  if (!isFine || frames.length > 400) {
    throw new CommandError(
      "USAGE",
      `${JSON.stringify(frames)} cannot be the subject of frames.`,
      "Give --subject words with a dot between them, without blanks, * and >; none of them is _zb, and the first does not start with $.",
    );
  }
  const below = (token: string) => `${frames}.${OWN}.${token}`;
  return {
    frames,
    metadata: below("metadata"),
    alive: below("alive"),
    end: below("end"),
    request: below("request"),
  };
}
