// A page of view that a test plays, without a browser.

import { eventually } from "./buffers.ts";
import type { View } from "./view.ts";

/** A page that a test plays. */
export class Visitor implements AsyncDisposable {
  readonly #socket: WebSocket;
  readonly texts: { type: string; [key: string]: unknown }[] = [];
  readonly frames: Uint8Array[] = [];
  /** How the socket was closed; undefined while it is open. */
  closed: { code: number; reason: string } | undefined;
  #isOpen = false;

  constructor(view: View, origin = view.origin) {
    const options = { headers: { Origin: origin } };
    this.#socket = new WebSocket(`ws://127.0.0.1:${view.port}/socket`, options as unknown as string[]);
    this.#socket.binaryType = "arraybuffer";
    this.#socket.addEventListener("open", () => {
      this.#isOpen = true;
    });
    this.#socket.addEventListener("close", ({ code, reason }) => {
      this.closed = { code, reason };
    });
    this.#socket.addEventListener("message", ({ data }) => {
      if (typeof data === "string") this.texts.push(JSON.parse(data));
      else this.frames.push(new Uint8Array(data));
    });
  }

  async say(message: unknown): Promise<this> {
    await eventually(() => this.#isOpen || this.closed !== undefined);
    this.#socket.send(typeof message === "string" ? message : JSON.stringify(message));
    return this;
  }

  /** Waits for a text of this type; fails once the socket is closed. */
  async hears(type: string): Promise<void> {
    const isHeard = () => this.texts.some((text) => text.type === type);
    await eventually(() => isHeard() || this.closed !== undefined);
    if (!isHeard()) throw new Error(`closed before ${type} came: ${JSON.stringify(this.closed)}`);
  }

  async ends(): Promise<{ code: number; reason: string } | undefined> {
    await eventually(() => this.closed !== undefined);
    return this.closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close();
    await this.ends();
  }
}
