// Sent requests that have no response yet, and when they can no longer get one.

/** So many are kept at least before those that have failed are looked for. */
const LEAST = 1024;

/** The requests whose responses `receiveResponse` returns, by number. */
export class SentRequests {
  /** For each number, the bytes of all requests up to its end. */
  readonly #ends = new Map<number, number>();
  #most = LEAST;

  add(sequence: number, end: number): void {
    this.#ends.set(sequence, end);
  }

  get size(): number {
    return this.#ends.size;
  }

  has(sequence: number): boolean {
    return this.#ends.has(sequence);
  }

  /** False if it is none of them. */
  delete(sequence: number): boolean {
    return this.#ends.delete(sequence);
  }

  /** Whether there are so many that {@link forget} is due. */
  get areMany(): boolean {
    return this.#ends.size >= this.#most;
  }

  /**
   * Forgets those that lie within the first `released` bytes of all requests, which the server has released, and that
   * are not answered: it releases a request after it has written the response, so that their handlers have failed.
   */
  forget(released: number, answered: ReadonlySet<number>): void {
    for (const [sequence, end] of this.#ends) {
      // A server of version 1 may release a request while it handles it: the one that was released last is kept.
      if (end >= released) break;
      if (!answered.has(sequence)) this.#ends.delete(sequence);
    }
    this.#most = Math.max(LEAST, 2 * this.#ends.size);
  }
}
