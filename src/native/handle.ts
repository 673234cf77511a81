// What everything that the helper owns has in common: an address, which is taken away when it is closed.

import { Code } from "./codes.ts";
import type { Address } from "./symbols.ts";

/** Permission bits for a new object; `undefined` means 0666 less the umask. */
export type Mode = number | undefined;

export const cString = (text: string): Buffer => Buffer.from(`${text}\0`);
export const modeArgument = (mode: Mode): number => mode ?? -1;

/** Calls a function whose last parameter receives an address. */
export function receive(call: (result: BigUint64Array) => number): Address | { code: Code } {
  const result = new BigUint64Array(1);
  const code = call(result);
  return code === Code.OK ? Number(result[0]) : { code: code as Code };
}

/** Base of all handles: an address that is taken away when it is closed. */
export abstract class Handle {
  #address: Address | undefined;

  protected constructor(address: Address) {
    this.#address = address;
  }

  /** The address, as long as the handle is open. */
  get address(): Address {
    if (this.#address === undefined) throw new Error(`${this.constructor.name} is closed`);
    return this.#address;
  }

  /** Ends the handle; `close` receives the address the first time only. */
  protected end(close: (address: Address) => void): void {
    const address = this.#address;
    this.#address = undefined;
    if (address !== undefined) close(address);
  }
}
