// What a publisher has to send, in its order: kept until the broker has it, and sent again after an outage.

/** How many bytes may be on their way: sent, but the broker has not told that it has them. */
const WINDOW_BYTES = 8 * 2 ** 20;

/** How many entries may be kept. */
const MAX_ENTRIES = 4096;

/** How messages get to the broker. */
export interface Courier {
  /** Bytes that a message has room for, besides its headers. */
  readonly room: number;
  /** Sends a message. The bytes may change when it has returned and all microtasks have run. */
  post(message: Message): void;
  /** Resolves when the broker has everything that was posted before. Rejects if it may not have. */
  settle(): Promise<void>;
  /** Waits until messages can be sent again after a failure. Rejects if they never can. */
  recover(): Promise<void>;
  /** How much the broker keeps for those who come later; undefined if it keeps nothing, or everything. */
  readonly keeps?: { readonly bytes: number; readonly ms: number };
}

/** A message to send. */
export interface Message {
  readonly subject: string;
  readonly data: Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
  /** What no other message of any publisher has, but the same message when it is sent again. */
  readonly id: string;
}

/** What is sent in one message, or in parts. */
export interface Parcel {
  /** All bytes, valid until the release. */
  readonly data: Uint8Array;
  /** Into how many messages the bytes are split. */
  readonly parts: number;
  /** Whether it is a frame: one that may be dropped, and is counted if it is sent again. */
  readonly isFrame: boolean;
  /** Which message a part is, from 1. */
  message(part: number, data: Uint8Array): Message;
  /** The broker has it, or it is given up. */
  release(): void;
}

interface Entry {
  readonly parcel: Parcel;
  /** Bytes of each part but the last. */
  readonly partSize: number;
  /** Whether it was sent before, if only in part. */
  wasSent: boolean;
}

/** Sends parcels in order while it is open. */
export class Outbox {
  readonly #courier: Courier;
  readonly #onFailure: (error: unknown) => void;
  readonly #entries: Entry[] = [];
  /** The entry to go on with, and how many of its parts are sent. */
  #next = 0;
  #partsSent = 0;
  /** Bytes that are on their way. */
  #bytesOut = 0;
  /** Bytes of all entries. */
  #bytesKept = 0;
  #isOpen = true;
  #isSettling = false;
  /** Changes when everything is sent again: what was told of earlier attempts does not count. */
  #attempt = 0;
  #resent = 0;
  readonly #waiters: { readonly isDone: () => boolean; readonly resolve: () => void }[] = [];

  /** @param onFailure is called if the broker may have lost something while the outbox was open. */
  constructor(courier: Courier, onFailure: (error: unknown) => void) {
    this.#courier = courier;
    this.#onFailure = onFailure;
  }

  /** Frames that were sent again. */
  get resent(): number {
    return this.#resent;
  }

  /** Adds a parcel, and sends it when its turn comes. */
  add(parcel: Parcel): void {
    const partSize = Math.ceil(parcel.data.length / parcel.parts);
    this.#entries.push({ parcel, partSize, wasSent: false });
    this.#bytesKept += parcel.data.length;
    this.#pump();
  }

  /** Whether another parcel may be added. */
  get hasRoom(): boolean {
    return this.#bytesKept < 2 * WINDOW_BYTES && this.#entries.length < MAX_ENTRIES;
  }

  /** Whether the broker has everything. */
  get isEmpty(): boolean {
    return this.#entries.length === 0;
  }

  /** Resolves when another parcel may be added. */
  async room(): Promise<void> {
    await this.#until(() => this.hasRoom);
  }

  /** Resolves when the broker has everything. */
  async empty(): Promise<void> {
    await this.#until(() => this.isEmpty);
  }

  /** Whether what is added is sent when its turn comes. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Sends nothing for the time being. What was on its way may be lost. */
  close(): void {
    this.#isOpen = false;
    this.#attempt++;
  }

  /** Sends everything that the broker may not have, in order. */
  open(): void {
    this.#attempt++;
    this.#isOpen = true;
    this.#isSettling = false;
    this.#next = 0;
    this.#partsSent = 0;
    this.#bytesOut = 0;
    this.#pump();
  }

  /** Gives up everything. */
  clear(): void {
    this.#keep(() => false);
  }

  /** Gives up the frames. */
  clearFrames(): void {
    this.#keep(({ parcel }) => !parcel.isFrame);
  }

  #keep(isKept: (entry: Entry) => boolean): void {
    this.#attempt++;
    this.#bytesOut = 0;
    this.#next = 0;
    this.#partsSent = 0;
    const entries = this.#entries.splice(0);
    this.#entries.push(...entries.filter(isKept));
    this.#release(entries.filter((entry) => !isKept(entry)));
  }

  #pump(): void {
    while (this.#isOpen) {
      const entry = this.#entries[this.#next];
      if (entry === undefined) break;
      const { parcel, partSize } = entry;
      const start = this.#partsSent * partSize;
      const data = parcel.parts === 1 ? parcel.data : parcel.data.subarray(start, start + partSize);
      if (this.#bytesOut > 0 && this.#bytesOut + data.length > WINDOW_BYTES) break;
      if (this.#partsSent === 0 && entry.wasSent && parcel.isFrame) this.#resent++;
      entry.wasSent = true;
      this.#courier.post(parcel.message(this.#partsSent + 1, data));
      this.#bytesOut += data.length;
      if (++this.#partsSent < parcel.parts) continue;
      this.#partsSent = 0;
      this.#next++;
    }
    this.#settle();
  }

  /** Asks the broker whether it has what was sent, one question at a time. */
  #settle(): void {
    if (this.#isSettling || !this.#isOpen || (this.#next === 0 && this.#bytesOut === 0)) return;
    this.#isSettling = true;
    const attempt = this.#attempt;
    const [sent, bytes] = [this.#next, this.#bytesOut];
    const done = (act: () => void) => {
      if (attempt !== this.#attempt) return;
      this.#isSettling = false;
      act();
    };
    this.#courier.settle().then(
      () =>
        done(() => {
          this.#bytesOut -= bytes;
          this.#next -= sent;
          this.#release(this.#entries.splice(0, sent));
          this.#pump();
        }),
      (error) => done(() => this.#onFailure(error)),
    );
  }

  /** What was taken out is not kept any more. */
  #release(entries: readonly Entry[]): void {
    for (const { parcel } of entries) {
      this.#bytesKept -= parcel.data.length;
      parcel.release();
    }
    for (const waiter of this.#waiters.splice(0)) {
      if (waiter.isDone()) waiter.resolve();
      else this.#waiters.push(waiter);
    }
  }

  #until(isDone: () => boolean): Promise<void> {
    if (isDone()) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push({ isDone, resolve }));
  }
}
