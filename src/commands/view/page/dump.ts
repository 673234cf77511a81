// Frames that are no pictures, as hexadecimal numbers or as text.

import { byId, onPress, setText } from "./dom.ts";
import { count, grouped } from "./texts.ts";

const BYTES_PER_LINE = 16;

/** More lines than this would be slow to show. */
const MOST_LINES = 512;

/** Shows the bytes of frames. */
export class Dump {
  readonly #place = byId("bytes");
  readonly #dump = byId("dump");
  #isText = false;
  #data = new Uint8Array(0);
  #start = 0;

  constructor() {
    const choose = (isText: boolean) => {
      this.#isText = isText;
      byId("as-hex").setAttribute("aria-pressed", `${!isText}`);
      byId("as-text").setAttribute("aria-pressed", `${isText}`);
      this.#draw();
    };
    onPress("as-hex", () => choose(false));
    onPress("as-text", () => choose(true));
  }

  hide(): void {
    this.#place.hidden = true;
  }

  /**
   * Shows the first bytes of a frame.
   *
   * @param start where they begin in the frame.
   * @param size that of the frame, in bytes.
   */
  show(data: Uint8Array<ArrayBuffer>, reason: string, start: number, size: number): void {
    this.#place.hidden = false;
    const shown = Math.min(data.length, MOST_LINES * BYTES_PER_LINE);
    const rest = size - start - shown;
    setText(byId("reason"), rest > 0 ? `${reason} These are its first ${count(shown, "bytes")}.` : reason);
    this.#data = data.subarray(0, shown);
    this.#start = start;
    this.#draw();
  }

  #draw(): void {
    const text = this.#isText ? new TextDecoder().decode(this.#data) : this.#hex();
    setText(this.#dump, text);
  }

  #hex(): string {
    const lines: string[] = [];
    for (let at = 0; at < this.#data.length; at += BYTES_PER_LINE) {
      const bytes = [...this.#data.subarray(at, at + BYTES_PER_LINE)];
      const hex = bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
      const text = bytes
        .map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "·"))
        .join("");
      const offset = (this.#start + at).toString(16).padStart(6, "0");
      lines.push(`${offset}  ${hex.padEnd(BYTES_PER_LINE * 3 - 1)}  ${text}`);
    }
    return lines.join("\n");
  }
}

/** The size of a frame, and of what is in front of it. */
export function sizeText(size: number, skipped: number): string {
  return skipped === 0 ? count(size, "bytes") : `${grouped(skipped)} + ${count(size - skipped, "bytes")}`;
}
