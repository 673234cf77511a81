// The browsers that look: each gets the newest frame when it has asked for one, and never a second one on its way.

import type { FrameHead, ServerMessage } from "./protocol.ts";

/** A frame as it is sent. */
interface Shown {
  readonly head: FrameHead;
  readonly data: Uint8Array;
}

/** The socket of a browser. Its server queues what the browser does not take, and says 0 for what it has not queued. */
export type Socket = Pick<Bun.ServerWebSocket<unknown>, "sendText" | "sendBinary" | "getBufferedAmount">;

/** One browser that has shown its token. */
export class Browser {
  readonly #socket: Socket;
  /** What could not be sent, in its order. */
  #unsent: (string | Uint8Array)[] = [];
  /** Whether it takes a frame. */
  isReady = false;
  /** The number among all frames, {@link FrameHead.arrived}, of the last one that it got. */
  newest = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Whether it has taken everything that was sent. */
  get isIdle(): boolean {
    return this.#unsent.length === 0 && this.#socket.getBufferedAmount() === 0;
  }

  /** Whether to send it a frame: also one that asks again and again has a single one on its way. */
  get takesFrame(): boolean {
    return this.isReady && this.isIdle;
  }

  send(message: ServerMessage): void {
    this.#send(JSON.stringify(message));
  }

  show({ head, data }: Shown): void {
    this.isReady = false;
    this.newest = head.arrived;
    this.send(head);
    this.#send(data);
  }

  #send(message: string | Uint8Array): void {
    if (this.#unsent.length > 0 || !this.#attempt(message)) {
      // The bytes of a frame are lent.
      this.#unsent.push(typeof message === "string" ? message : message.slice());
    }
  }

  #attempt(message: string | Uint8Array): boolean {
    const socket = this.#socket;
    return (typeof message === "string" ? socket.sendText(message) : socket.sendBinary(message)) !== 0;
  }

  /** The socket has room again. */
  drain(): void {
    for (;;) {
      const [next] = this.#unsent;
      if (next === undefined || !this.#attempt(next)) return;
      this.#unsent.shift();
    }
  }
}

/** All browsers. Frames that none of them is ready for are passed over, but for the newest one. */
export class Browsers {
  readonly #all = new Set<Browser>();
  /** A copy of the newest frame, for those that were not ready for it. */
  #kept: Shown | undefined;
  #memory = new Uint8Array(0);
  /** Frames sent so far, to whatever browser, and their bytes. */
  framesSent = 0;
  bytesSent = 0;

  get count(): number {
    return this.#all.size;
  }

  add(browser: Browser): void {
    this.#all.add(browser);
  }

  remove(browser: Browser): void {
    this.#all.delete(browser);
    if (this.#all.size > 0) return;
    this.#kept = undefined;
    this.#memory = new Uint8Array(0);
  }

  /** A browser takes a frame: it gets one that is newer than its last one, if there is one, or else the next one. */
  noteReady(browser: Browser, isReady: boolean): void {
    browser.isReady = isReady;
    this.#catchUp(browser);
  }

  /** The socket of a browser has room again. */
  drain(browser: Browser): void {
    browser.drain();
    this.#catchUp(browser);
  }

  #catchUp(browser: Browser): void {
    const kept = this.#kept;
    if (browser.takesFrame && kept !== undefined && kept.head.arrived > browser.newest)
      this.#show(browser, kept);
  }

  /** Shows a frame to those that are ready, before it returns. */
  show(frame: Shown): void {
    let isMissed = false;
    for (const browser of this.#all) {
      if (browser.takesFrame) this.#show(browser, frame);
      else isMissed = true;
    }
    this.#kept = isMissed ? { head: frame.head, data: this.#copyOf(frame.data) } : undefined;
  }

  #show(browser: Browser, frame: Shown): void {
    browser.show(frame);
    this.framesSent++;
    this.bytesSent += frame.data.length;
  }

  #copyOf(data: Uint8Array): Uint8Array {
    if (this.#memory.length < data.length) this.#memory = new Uint8Array(data.length);
    this.#memory.set(data);
    return this.#memory.subarray(0, data.length);
  }

  /** Tells all of them. */
  tell(message: ServerMessage): void {
    for (const browser of this.#all) browser.send(message);
  }

  /** Tells those that have taken everything so far: the others would queue it. */
  tellIdle(message: ServerMessage): void {
    for (const browser of this.#all) if (browser.isIdle) browser.send(message);
  }
}
