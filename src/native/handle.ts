// What all objects of the helper have in common: an address, which a handle gives up when it is closed.

import { Code } from "./codes.ts";
import type { Address } from "./symbols.ts";

/** Permission bits of a new object. `undefined` means 0666 less the umask. */
export type Mode = number | undefined;

export const cString = (text: string): Buffer => Buffer.from(`${text}\0`);
export const modeArgument = (mode: Mode): number => mode ?? -1;

/**
 * Calls a function of the helper that stores an object's address in its last parameter.
 *
 * @returns the handle that `make` makes of the address, or the code of the function if it has failed.
 */
export function openHandle<T>(
  open: (result: BigUint64Array) => number,
  make: (address: Address) => T,
): T | Code {
  const result = new BigUint64Array(1);
  const code = open(result);
  return code === Code.OK ? make(Number(result[0])) : (code as Code);
}

/** An object of the helper. It belongs to the thread that has opened it. */
export abstract class Handle {
  #address: Address | undefined;

  protected constructor(address: Address) {
    this.#address = address;
  }

  /**
   * The address of the object.
   *
   * @throws Error once the handle is closed.
   */
  get address(): Address {
    if (this.#address === undefined) throw new Error(`${this.constructor.name} is closed`);
    return this.#address;
  }

  get isClosed(): boolean {
    return this.#address === undefined;
  }

  /** Closes the handle. Only the first call calls `close`, with the address. */
  protected end(close: (address: Address) => void): void {
    const address = this.#address;
    this.#address = undefined;
    if (address !== undefined) close(address);
  }
}
