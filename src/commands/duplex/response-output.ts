// Where a client's responses go: a byte stream that takes them in the order of their requests, as they come.

import type { FrameOutput } from "../../cli/frame-output.ts";

/** What a {@link ResponseOutput} tells. */
interface Observer {
  /** More responses are copied or written. */
  progressed(): void;
  /** A write failed: nothing more is written. */
  failed(error: unknown): void;
}

/** Writes each response as soon as all earlier ones are written. While one write runs, small responses gather for the next. */
export class ResponseOutput {
  readonly #output: FrameOutput;
  readonly #observer: Observer;
  /** Responses that wait for earlier ones or for a write; undefined: there was no response. */
  readonly #waiting = new Map<number, Uint8Array | undefined>();
  #next = 0;
  /** Whether a large response is being written, which the output must finish before it copies another. */
  #isBlocked = false;
  #writing: Promise<void> | undefined;

  constructor(output: FrameOutput, observer: Observer) {
    this.#output = output;
    this.#observer = observer;
  }

  /** The number of requests whose responses are copied or written. */
  get count(): number {
    return this.#next;
  }

  /** {@link FrameOutput.checkReader} */
  checkReader(): void {
    this.#output.checkReader();
  }

  /** Takes the response to request `number`, undefined if there was none. */
  add(number: number, response: Uint8Array | undefined): void {
    this.#waiting.set(number, response);
    if (!this.#isBlocked) this.#append();
    this.#writing ??= this.#write();
  }

  /**
   * Resolves when every response whose turn has come is written.
   *
   * @throws As the output does.
   */
  async finish(): Promise<void> {
    await this.#writing;
    await this.#output.flush();
  }

  /** Copies the responses whose turn has come. Returns the first one for which there is no room. */
  #append(): Uint8Array | undefined {
    while (this.#waiting.has(this.#next)) {
      const response = this.#waiting.get(this.#next);
      if (response !== undefined && !this.#output.append(response)) return response;
      this.#advance();
    }
    return undefined;
  }

  #advance(): void {
    this.#waiting.delete(this.#next++);
    this.#observer.progressed();
  }

  /** Writes until nothing is left to write. Never rejects. */
  async #write(): Promise<void> {
    try {
      for (;;) {
        const large = this.#append();
        if (large !== undefined) {
          this.#isBlocked = true;
          await this.#output.write(large);
          this.#isBlocked = false;
          this.#advance();
        } else if (this.#output.isEmpty) {
          break;
        } else {
          await this.#output.flush();
        }
      }
      this.#writing = undefined;
    } catch (error) {
      this.#observer.failed(error);
    }
  }
}
