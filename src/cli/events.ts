// The events of --json-lines: what a command does, one JSON object a line.

import { DownstreamClosed, systemCode } from "./failure.ts";
import { count } from "./format.ts";
import { Lines } from "./lines.ts";
import type { Descriptor } from "./terminal.ts";

/** What can happen, and what is told of it. The last event, `result`, is the report of the run. */
export interface EventFields {
  /** The arguments are right, and work begins. */
  started: { readonly operation: string | null; readonly pid: number };
  /** A buffer was made, a server listens, or a subscriber of a bridge does: a peer can connect to it. */
  ready: { readonly buffer: string } | { readonly address: string };
  /** A process at the other end of a buffer, or of a channel. */
  peer: {
    readonly buffer: string;
    readonly role: "writer" | "reader" | "client" | "server";
    readonly change: "came" | "left" | "died";
  };
  progress: {
    readonly frames: number;
    readonly bytes: number;
    readonly frames_per_second: number;
    readonly bytes_per_second: number;
    /** What is being done, where that is not counted in frames. */
    readonly step?: string;
  };
  /** What a command that watches has seen. */
  snapshot: object;
  warning: { readonly message: string };
}

/** A line for an event that happens now. */
export function eventLine(event: string, fields: object): string {
  return JSON.stringify({ event, time: new Date().toISOString(), ...fields });
}

/** Prints events while a command runs. */
export class Events {
  readonly #lines: Lines;

  /** @param onClosed is called when nobody reads the events any more. */
  constructor(descriptor: Descriptor, onClosed: (closed: DownstreamClosed) => void) {
    const lossLine = (lost: number) =>
      eventLine("warning", { message: `${count(lost, "events")} lost, because their reader was too slow.` });
    this.#lines = new Lines(descriptor, lossLine, (error) => {
      if (systemCode(error) === "EPIPE")
        onClosed(new DownstreamClosed("The reader of the events has closed them."));
    });
  }

  /** Prints an event. */
  emit<E extends keyof EventFields>(event: E, fields: EventFields[E]): void {
    this.#lines.add(eventLine(event, fields));
  }

  /** Waits until all events are printed. */
  async flush(): Promise<void> {
    await this.#lines.flush();
  }
}
