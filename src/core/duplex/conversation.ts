// A server's connection to the response buffer of one client.

import { OiebFlag } from "../../native/memory.ts";
import type { Cancellations } from "../buffer/cancellations.ts";
import type { Frame } from "../frame.ts";
import type { Forwarded } from "../sharing/forwarding.ts";
import type { SharingSource } from "../sharing/source.ts";
import { Writer } from "../writer.ts";
import type { Client } from "./running.ts";

/** Whom a server talks to, and how. */
interface Partner {
  /** The client, whose response buffer has this reader. */
  readonly readerPid: bigint;
  /** The requests, if their bytes are the responses: a client that allows it reads them there. */
  readonly source: SharingSource | undefined;
  readonly signal: AbortSignal;
}

/** A client that is connected, from {@link connect} to {@link close}. */
export class Conversation implements Client {
  departure: string | undefined;
  readonly cancellations: Cancellations | undefined;
  readonly responses: Writer;
  /** Whether responses have the numbers of their requests. Otherwise they have 1, 2, 3 …: a v1 client takes no others. */
  readonly isNumbered: boolean;
  /** Whether responses are requests that are passed on. */
  readonly #isSharing: boolean;

  private constructor(responses: Writer, source: SharingSource | undefined) {
    this.responses = responses;
    this.cancellations = responses.cancellations;
    this.isNumbered = (responses.loadOieb().flags & OiebFlag.ANY_SEQUENCE) !== 0n;
    this.#isSharing = source !== undefined && responses.shareFrom(source);
  }

  /** Rejects as `Writer.connect`. */
  static async connect(buffer: string, { readerPid, source, signal }: Partner): Promise<Conversation> {
    const responses = await Writer.connect(buffer, { readerPid, signal });
    try {
      signal.throwIfAborted();
      return new Conversation(responses, source);
    } catch (error) {
      responses.close();
      throw error;
    }
  }

  /**
   * Answers a request if there is room now, and returns how; otherwise undefined. Throws as {@link Writer.tryWriteFrame}.
   *
   * @param response the request's own bytes, if the server answers in place.
   */
  tryToAnswer(sequence: number, request: Frame, response: Uint8Array): Forwarded | undefined {
    const { responses } = this;
    if (this.isNumbered) responses.nextSequence = sequence;
    if (this.#isSharing) return responses.tryForwardFrame(request);
    return responses.tryWriteFrame(response) ? "copied" : undefined;
  }

  close(): void {
    this.responses.close();
  }
}
