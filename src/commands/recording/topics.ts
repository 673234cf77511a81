// Which topic of a file goes to which buffer.

import { CommandError } from "../../cli/failure.ts";
import { count } from "../../cli/format.ts";

/** How many topics a message lists. */
const MAX_LISTED = 8;

/** Assigns topics to buffers. */
export class Topics {
  readonly #wanted: readonly string[];
  readonly #buffers: readonly string[];
  /** The buffers of the topics that were asked about; undefined for those that are not replayed. */
  readonly #assigned = new Map<string, string | undefined>();

  /**
   * @param wanted the topics to replay; none: all.
   * @param buffers where they go, in the same order; none: to the buffers of the same names.
   * @throws CommandError USAGE if there are not as many of both.
   */
  constructor(wanted: readonly string[], buffers: readonly string[]) {
    this.#wanted = wanted;
    this.#buffers = buffers;
    if (wanted.length === 0 || buffers.length === 0 || wanted.length === buffers.length) return;
    throw new CommandError(
      "USAGE",
      `${count(wanted.length, "topics")} cannot go to ${count(buffers.length, "buffers")}.`,
      "Name a buffer for each topic, in the same order, or none: each goes to the buffer of its name.",
    );
  }

  /** The topics seen, in their order. */
  get seen(): string[] {
    return [...this.#assigned.keys()];
  }

  /**
   * The buffer of a topic; undefined if it is not replayed.
   *
   * @throws CommandError USAGE if there are more topics than buffers.
   */
  bufferOf(topic: string): string | undefined {
    if (!this.#assigned.has(topic)) this.#assigned.set(topic, this.#assign(topic));
    return this.#assigned.get(topic);
  }

  /** @throws CommandError USAGE if a topic that is wanted was not seen, or a buffer has none. */
  checkAllSeen(path: string): void {
    const missing = this.#wanted.find((topic) => !this.#assigned.has(topic));
    if (missing !== undefined) {
      throw new CommandError(
        "USAGE",
        `There is no topic ${quoted(missing)} in ${path}.`,
        this.seen.length === 0 ? "It has no topics." : `It has ${listOf(this.seen)}.`,
      );
    }
    const { length } = this.seen;
    if (this.#wanted.length > 0 || this.#buffers.length <= length) return;
    throw new CommandError(
      "USAGE",
      `${path} has ${count(length, "topics")}, and ${count(this.#buffers.length, "buffers")} are named.`,
      "Name a buffer for each topic.",
    );
  }

  #assign(topic: string): string | undefined {
    if (this.#wanted.length > 0) {
      const at = this.#wanted.indexOf(topic);
      return at === -1 ? undefined : (this.#buffers[at] ?? topic);
    }
    if (this.#buffers.length === 0) return topic;
    const buffer = this.#buffers[this.#assigned.size];
    if (buffer !== undefined) return buffer;
    throw new CommandError(
      "USAGE",
      `The recording has more topics than the ${count(this.#buffers.length, "buffers")} named: ${listOf([...this.seen, topic])}.`,
      "Choose topics with --topic, or name a buffer for each.",
    );
  }
}

function listOf(topics: readonly string[]): string {
  const listed = topics.slice(0, MAX_LISTED).map(quoted).join(", ");
  return topics.length > MAX_LISTED
    ? `${listed} and ${count(topics.length - MAX_LISTED, "more topics")}`
    : listed;
}

/** A topic as a message has it. */
export function quoted(topic: string): string {
  return JSON.stringify(shownTopic(topic));
}

/** A topic of any length and with any characters as a terminal takes it. */
export function shownTopic(topic: string): string {
  const shown = topic.length > 60 ? `${topic.slice(0, 60)}…` : topic;
  return shown.replace(/\p{C}/gu, "?");
}
