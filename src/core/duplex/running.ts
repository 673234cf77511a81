// Requests that a server has in hand, and the signals by which their handlers learn that nobody waits for them any more.

import type { Cancellations } from "../buffer/cancellations.ts";
import type { RequestContext } from "./types.ts";

/** The client of requests in hand. */
export interface Client {
  /** Undefined if it has no way to cancel. */
  readonly cancellations: Cancellations | undefined;
  /** Why it waits for nothing any more, as half a sentence; undefined while it does. */
  departure: string | undefined;
}

/**
 * A request from before its handler is called until it is answered or dropped. The object of a request that is over can be
 * used for the next one.
 */
export class RequestInHand implements RequestContext {
  sequence = 0;
  readonly #signals: RunningSignals;
  #client: Client | undefined;
  #controller: AbortController | undefined;
  #state: "running" | "over" | "cancelled" = "over";

  constructor(signals: RunningSignals) {
    this.#signals = signals;
  }

  begin(sequence: number, client: Client): this {
    this.sequence = sequence;
    this.#client = client;
    this.#controller = undefined;
    this.#state = "running";
    return this;
  }

  get signal(): AbortSignal {
    if (this.#controller !== undefined) return this.#controller.signal;
    this.#controller = new AbortController();
    if (this.#state === "running") this.#watch();
    return this.#controller.signal;
  }

  #watch(): void {
    const departure = this.#client?.departure;
    if (departure !== undefined) this.abort(departure);
    else if (!this.isCancelled()) this.#signals.add(this);
  }

  /** Whether nobody waits for the response any more, as far as the handler has been told. */
  get isAborted(): boolean {
    return this.#controller?.signal.aborted === true;
  }

  /** Whether its client has cancelled it by now; its signal is aborted then, and the server told. */
  isCancelled(): boolean {
    if (this.#state !== "cancelled" && this.#client?.cancellations?.has(this.sequence) === true) {
      this.#state = "cancelled";
      this.abort("its client has cancelled it");
      this.#signals.onCancelled(this.sequence);
    }
    return this.#state === "cancelled";
  }

  /** @param why nobody waits for the response any more, as half a sentence. */
  abort(why: string): void {
    this.end();
    this.#controller ??= new AbortController();
    this.#controller.abort(
      new DOMException(`Request ${this.sequence} is not to be answered: ${why}.`, "AbortError"),
    );
  }

  /** Notes that it is answered or dropped: its signal is not aborted any more. */
  end(): void {
    if (this.#state === "running") this.#state = "over";
    if (this.#controller !== undefined) this.#signals.delete(this);
  }
}

/** The requests in hand whose handlers have asked for their signals. */
export class RunningSignals {
  readonly #requests = new Set<RequestInHand>();
  readonly #onFirst: () => void;
  /** Called for each request that its client has cancelled, whether its handler has asked or not. */
  readonly onCancelled: (sequence: number) => void;

  /** @param onFirst is called when one of them is to be watched, and none was before. */
  constructor(onFirst: () => void, onCancelled: (sequence: number) => void) {
    this.#onFirst = onFirst;
    this.onCancelled = onCancelled;
  }

  get size(): number {
    return this.#requests.size;
  }

  add(request: RequestInHand): void {
    this.#requests.add(request);
    if (this.#requests.size === 1) this.#onFirst();
  }

  delete(request: RequestInHand): void {
    this.#requests.delete(request);
  }

  /** Aborts the signals of those that their client has cancelled. */
  look(): void {
    for (const request of this.#requests) request.isCancelled();
  }

  /** Notes that the client of all of them waits for nothing any more. @param why as half a sentence. */
  abortAll(client: Client, why: string): void {
    // What it has cancelled before counts as that.
    this.look();
    client.departure ??= why;
    for (const request of this.#requests) request.abort(client.departure);
  }
}
