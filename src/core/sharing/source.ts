// The reader whose frames are passed on without a copy (docs/protocol.md, section 10.3).

import type { RingReader } from "../../native/ring.ts";
import { takeAllSteps } from "../../runtime/steps.ts";
import type { Peer } from "../buffer/presence.ts";
import type { SharedBuffer } from "../buffer/shared-buffer.ts";
import type { WriterWatch } from "../writer-watch.ts";

/** How often targets are looked at while the program does nothing, in milliseconds. */
const SLICE_MS = 100;

/** The same while a closed target has references: no token tells of their release. */
const LINGER_MS = 20;

/** What the source asks of a target. */
export interface SharedTarget {
  readonly references: number;
  readonly hasLeft: boolean;
  look(mayShare: boolean): void;
  listen(onWoken: () => void): void;
  wakeWrites(): void;
  endIfReleased(): void;
  endWithSource(): void;
}

/** The targets of one reader, and the references that they have. */
export class SharingSource {
  readonly buffer: SharedBuffer;
  readonly ring: RingReader;
  readonly #isAllowed: boolean;
  readonly #onTarget: () => void;
  readonly #writer: Peer;
  readonly #writerWatch: Pick<WriterWatch, "settle">;
  readonly #targets = new Set<SharedTarget>();
  #isClosed = false;
  #timer: NodeJS.Timeout | undefined;
  /** Asynchronous waits under way, of the reader and of the targets' writers. */
  #sleepers = 0;

  /**
   * @param writer of the source.
   * @param options.isAllowed whether its frames may be shared at all.
   * @param options.onTarget called when a writer comes to which frames are passed on.
   */
  constructor(
    buffer: SharedBuffer,
    ring: RingReader,
    writer: Peer,
    watch: Pick<WriterWatch, "settle">,
    { isAllowed, onTarget }: { isAllowed: boolean; onTarget: () => void },
  ) {
    this.buffer = buffer;
    this.ring = ring;
    this.#writer = writer;
    this.#writerWatch = watch;
    this.#isAllowed = isAllowed;
    this.#onTarget = onTarget;
  }

  /** Whether its reader is closed. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Whether its frames may be shared now: its writer is one whose death is certain to be seen, or there is none. */
  get mayShare(): boolean {
    if (!this.#isAllowed) return false;
    this.#writer.judge(this.buffer.loadOieb());
    return !this.#writer.isOnlyInferred;
  }

  add(target: SharedTarget): void {
    this.#targets.add(target);
    this.#onTarget();
  }

  /** Forgets a target that has no references any more. */
  remove(target: SharedTarget): void {
    this.#targets.delete(target);
  }

  /** Settles what the last writer of the source left half done, if that is due. */
  settle(isDue: boolean): void {
    if (isDue) this.#writerWatch.settle();
  }

  /** Notes what the targets have released. */
  collect(takesTokens: boolean): void {
    if (this.#isClosed) return;
    this.settle(this.ring.collect(takesTokens));
    for (const target of this.#targets) target.endIfReleased();
  }

  /** Collects, and looks at the readers of all targets: to be called at the end of each slice of a wait. */
  look(): void {
    if (this.#targets.size === 0) return;
    this.collect(false);
    const mayShare = this.mayShare;
    for (const target of this.#targets) target.look(mayShare);
  }

  /**
   * To be called when a frame was passed on to a target: waits under way also end when that releases it, and it is looked at
   * if the program does not wait.
   */
  noteShared(target: SharedTarget): void {
    if (this.#sleepers > 0) this.#listenTo(target);
    this.#watch();
  }

  /** Looks again and again while targets have references, also if the program calls nothing. */
  #watch(): void {
    if (this.#timer !== undefined || this.#isClosed) return;
    const isLingering = [...this.#targets].some((target) => target.hasLeft);
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.look();
        if ([...this.#targets].some((target) => target.references > 0)) this.#watch();
      },
      isLingering ? LINGER_MS : SLICE_MS,
    );
    this.#timer.unref();
  }

  /** Looks sooner: a target has left. */
  watchClosely(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#watch();
  }

  /** What resolves with `sleep`, an asynchronous wait of the reader or of a target's writer; it collects meanwhile. */
  collectDuring(sleep: Promise<void>): Promise<void> {
    return this.#targets.size === 0 ? sleep : this.#listenDuring(sleep);
  }

  async #listenDuring(sleep: Promise<void>): Promise<void> {
    this.#sleepers++;
    for (const target of this.#targets) this.#listenTo(target);
    try {
      await sleep;
    } finally {
      this.#sleepers--;
    }
  }

  #listenTo(target: SharedTarget): void {
    target.listen(() => {
      if (this.#isClosed) return;
      this.collect(true);
      this.#wakeWrites();
      if (this.#sleepers > 0) this.#listenTo(target);
    });
  }

  /**
   * To be called after each wait of the reader, or of a target's writer, that blocks the thread: it takes the tokens of all
   * targets.
   */
  noteBlocked(): void {
    if (this.#sleepers > 0) this.#wakeWrites();
  }

  /** Attempts the asynchronous writes again that wait: the tokens that were taken may have been for them. */
  #wakeWrites(): void {
    for (const target of this.#targets) target.wakeWrites();
  }

  /** Closes the writers of all targets, and forgets the references: the source ends. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    takeAllSteps(...[...this.#targets].map((target) => () => target.endWithSource()));
    this.#targets.clear();
  }
}
