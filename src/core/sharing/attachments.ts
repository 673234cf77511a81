// The other buffer that a reader's frames lie in (docs/protocol.md, section 10.4).

import { Code, codeDescriptions } from "../../native/codes.ts";
import { SharedMemory } from "../../native/memory.ts";
import type { RingReader } from "../../native/ring.ts";
import { checkName } from "../buffer/names.ts";
import { decodeOieb, faultOfOieb } from "../buffer/oieb.ts";
import { OIEB_SIZE } from "../config.ts";
import { CorruptBufferError } from "../errors.ts";
import { Lender } from "../frame.ts";
import type { WriterWatch } from "../writer-watch.ts";

/** The memory of a source that frames were read from, and how many of them are lent. */
class AttachedMemory {
  readonly lender: Lender;
  lent = 0;
  #isReplaced = false;
  #wasBroken = false;

  constructor(
    readonly name: string,
    readonly memory: SharedMemory,
    ring: RingReader,
    watch: Pick<WriterWatch, "settle">,
  ) {
    const counting = {
      hold: (index: number) => {
        this.lent++;
        return ring.hold(index);
      },
      drop: (index: number) => {
        this.#giveBack(1);
        return ring.drop(index);
      },
      release: (first: number, count: number) => {
        this.#giveBack(count);
        return ring.release(first, count);
      },
    };
    this.lender = new Lender(name, memory, counting, watch, true);
  }

  #giveBack(frames: number): void {
    this.lent -= frames;
    if (!this.#isReplaced || this.lent > 0) return;
    this.#wasBroken = this.isBroken;
    this.memory.close();
  }

  /** Whether it was truncated while it was mapped. */
  get isBroken(): boolean {
    return this.memory.isClosed ? this.#wasBroken : this.memory.isBroken;
  }

  /** No more frames are read from it: it is unmapped when none is lent. */
  replace(): void {
    this.#isReplaced = true;
    this.#giveBack(0);
  }
}

/** Maps the sources that the writers of a buffer attach, and answers them. */
export class Attachments {
  readonly #buffer: string;
  readonly #ring: RingReader;
  readonly #watch: Pick<WriterWatch, "settle">;
  #current: AttachedMemory | undefined;
  /** Sources that were replaced while frames of them were lent. */
  readonly #replaced = new Set<AttachedMemory>();
  #refusal: string | undefined;

  constructor(buffer: string, ring: RingReader, watch: Pick<WriterWatch, "settle">) {
    this.#buffer = buffer;
    this.#ring = ring;
    this.#watch = watch;
  }

  /** Why the last attachment was refused; undefined if none was. */
  get refusal(): string | undefined {
    return this.#refusal;
  }

  /** Answers the attachment that the ring has read: maps its source, or refuses it. */
  answer(): void {
    const name = this.#ring.sourceName;
    const last = this.#current;
    this.#current = undefined;
    this.#refusal = undefined;
    const source = name === "" ? undefined : this.#open(name);
    const code = this.#ring.answer(source);
    if (source !== undefined && code === Code.OK) {
      this.#current = new AttachedMemory(name, source.memory, this.#ring, this.#watch);
    } else {
      source?.memory.close();
    }
    if (last !== undefined) this.#replace(last);
  }

  #open(name: string) {
    try {
      checkName(name);
    } catch {
      return this.#refuse("its name is invalid");
    }
    const memory = SharedMemory.openSource(this.#ring);
    if (typeof memory === "number") return this.#refuse(codeDescriptions[memory]);
    // The sizes are used as they are checked here.
    const oieb = decodeOieb(memory.loadOieb());
    const { metadataSize, payloadSize } = oieb;
    const fault = oieb.oiebSize === 0 ? "it is not complete" : faultOfOieb(oieb, memory.size);
    const mapped = fault === undefined ? memory.map() : Code.OK;
    if (fault === undefined && mapped === Code.OK)
      return { memory, payloadOffset: OIEB_SIZE + metadataSize, payloadSize };
    memory.close();
    return this.#refuse(fault ?? codeDescriptions[mapped]);
  }

  #refuse(reason: string): undefined {
    this.#refusal = reason;
  }

  /** Lends `count` more frames of the current source. */
  lend(count: number): Lender {
    const current = this.#current as AttachedMemory;
    current.lent += count;
    return current.lender;
  }

  /** The writer is gone: nothing is attached any more, and nothing answered. */
  detach(): void {
    const last = this.#current;
    if (last === undefined && this.#refusal === undefined) return;
    this.#current = undefined;
    this.#ring.detach();
    if (last !== undefined) this.#replace(last);
  }

  #replace(last: AttachedMemory): void {
    if (last.lent > 0) this.#replaced.add(last);
    last.replace();
  }

  /** Throws if a source that was replaced was truncated while frames of it were lent. The ring knows of the current one alone. */
  checkReplaced(): void {
    // Each look at the ring comes here, and an iterator is an object.
    if (this.#replaced.size === 0) return;
    for (const source of this.#replaced) {
      if (source.isBroken) throw this.#broken(source);
      if (source.lent === 0) this.#replaced.delete(source);
    }
  }

  /** The error of the current source if it was truncated; undefined if it was not. */
  brokenSource(): CorruptBufferError | undefined {
    return this.#current?.isBroken === true ? this.#broken(this.#current) : undefined;
  }

  #broken({ name }: AttachedMemory): CorruptBufferError {
    return new CorruptBufferError(
      `Buffer "${name}", where the frames of buffer "${this.#buffer}" lie, is unusable: ${codeDescriptions[Code.BROKEN]}.`,
      { buffer: name, hint: "Close both buffers and start their readers again." },
    );
  }

  /** Unmaps all sources. False if one stays mapped, because a view of it is in use. */
  close(): boolean {
    const sources = [...this.#replaced, ...(this.#current === undefined ? [] : [this.#current])];
    this.#replaced.clear();
    this.#current = undefined;
    let areUnmapped = true;
    for (const source of sources) {
      source.lender.isClosed = true;
      if (!source.memory.close()) areUnmapped = false;
    }
    return areUnmapped;
  }
}
