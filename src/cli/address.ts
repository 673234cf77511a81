// Addresses: a buffer or channel may be named as shm://NAME?size=256MB&metadata=4KB&mode=OneWay.

import { FRAME_HEADER_SIZE } from "../core/index.ts";
import type { Scan } from "./arguments.ts";
import { CommandError } from "./failure.ts";
import { count } from "./format.ts";
import { MAX_SIZE, type Option, type Options } from "./options.ts";
import { parseAddressSize } from "./values.ts";

const SCHEME = /^shm:\/\//i;

const HINT =
  "Write it as in 'shm://cam?size=256MB&metadata=4KB&mode=OneWay'; there MB and KB are powers of 1024.";

/** The sizes of a buffer to create, in bytes, as far as its address gives them. */
export interface AddressSizes {
  readonly bufferSize?: number;
  readonly metadataSize?: number;
}

/** The positional arguments of a command, with names in place of addresses. */
export interface Named {
  readonly positionals: readonly string[];
  /** The sizes that addresses give and no option overrides, by the name of the argument; of a list, with that of the buffer: `output cam`. */
  readonly sizes: ReadonlyMap<string, AddressSizes>;
  /** What was ignored, a line for each address. */
  readonly ignored: readonly string[];
  /** The first fault of an address, if any. */
  readonly problem: CommandError | undefined;
}

/** Replaces the addresses among the arguments of a command by the names in them. Never throws. */
export function resolveAddresses(scan: Scan, command: { name: string; args: Options }): Named {
  const places = Object.entries(command.args).filter(([, { type }]) => type === "positional");
  const sizes = new Map<string, AddressSizes>();
  const ignored: string[] = [];
  let problem: CommandError | undefined;
  const positionals = scan.positionals.map((text, at) => {
    const [place, option] = places[at] ?? places.at(-1) ?? [];
    // Also in a list of files with buffers behind them: no path begins like an address.
    const isNamed = option?.offers === "buffers" || option?.offers === "channels" || option?.variadic;
    if (place === undefined || !isNamed || !SCHEME.test(text)) return text;
    const address = new Address(text);
    problem ??= address.fault ?? modeFault(address, option, command.name);
    if (address.unknown.length > 0) ignored.push(ignoredLine(address));
    const given = Object.entries(address.sizes).filter(([name]) => !scan.given.has(name));
    sizes.set(option.variadic ? `${place} ${address.name}` : place, Object.fromEntries(given));
    return address.name;
  });
  return { positionals, sizes, ignored, problem };
}

/** The name of a buffer or channel that is given as a name or as an address. */
export function nameIn(text: string): string {
  return SCHEME.test(text) ? new Address(text).name : text;
}

/** One address. Nothing in it is percent-encoded: no name, key or value needs that. Of a repeated key the last one holds. */
class Address {
  readonly name: string;
  readonly sizes: { bufferSize?: number; metadataSize?: number } = {};
  mode: "oneway" | "duplex" | undefined;
  readonly #unknown = new Set<string>();
  /** The first value that is malformed. */
  fault: CommandError | undefined;

  constructor(text: string) {
    const [, name = "", query = ""] = /^([^?]*)\??(.*)$/s.exec(text.replace(SCHEME, "")) ?? [];
    this.name = name;
    for (const pair of query.split("&")) {
      if (pair === "") continue;
      const [, key = "", value = ""] = /^([^=]*)=?(.*)$/s.exec(pair) ?? [];
      this.#take(key, value);
    }
  }

  /** The keys that mean nothing here. */
  get unknown(): string[] {
    return [...this.#unknown];
  }

  #take(key: string, value: string): void {
    switch (key.toLowerCase()) {
      case "size":
      case "buffer_size":
        this.sizes.bufferSize = this.#size(key, value, FRAME_HEADER_SIZE + 1);
        break;
      case "metadata":
      case "metadata_size":
        this.sizes.metadataSize = this.#size(key, value, 0);
        break;
      case "mode":
        this.mode = this.#mode(key, value);
        break;
      default:
        this.#unknown.add(key);
    }
  }

  #size(key: string, value: string, min: number): number {
    const size = parseAddressSize(value, min, MAX_SIZE);
    if (size !== undefined) return size;
    this.#refuse(key, value, `a size of at least ${count(min, "bytes")}, such as 256MB or 4KB`);
    return min;
  }

  #mode(key: string, value: string): typeof this.mode {
    const word = value.toLowerCase();
    if (word === "oneway" || word === "duplex") return word;
    this.#refuse(key, value, "OneWay or Duplex");
    return undefined;
  }

  #refuse(key: string, value: string, takes: string): void {
    this.fault ??= new CommandError(
      "USAGE",
      `Key ${key} of address shm://${cut(this.name)} takes ${takes}, not ${JSON.stringify(cut(value))}.`,
      HINT,
    );
  }
}

/** The commands at the same end of a channel of the other mode. */
const COUNTERPARTS: Readonly<Record<string, string>> = {
  reader: "duplex serve",
  writer: "duplex request",
  "duplex serve": "reader",
  "duplex request": "writer",
};

/** The fault of an address whose mode is not that of the command. */
function modeFault(
  { name, mode }: Address,
  { offers }: Option<unknown>,
  command: string,
): CommandError | undefined {
  const takes = offers === "channels" ? "duplex" : "oneway";
  if (mode === undefined || mode === takes) return undefined;
  const shown = cut(name);
  const other = COUNTERPARTS[command];
  const what = mode === "duplex" ? "a duplex channel, and" : "a one-way buffer, and";
  return new CommandError(
    "USAGE",
    `Key mode of address shm://${shown} says that it is ${what} ${command} takes ${takes === "duplex" ? "a duplex channel" : "one-way buffers"}.`,
    other === undefined
      ? `Name one of the two buffers of the channel: ${shown}_request or ${shown}_response.`
      : `Run zerobuffer ${other} ${shown}, or leave the mode out.`,
  );
}

/** How many unknown keys are listed. */
const MAX_LISTED = 8;

function ignoredLine({ name, unknown }: Address): string {
  const listed = unknown.slice(0, MAX_LISTED).map((key) => JSON.stringify(cut(key)));
  const more = unknown.length - listed.length;
  const rest = more > 0 ? ` and ${count(more, "more keys")}` : "";
  return `Ignored in address shm://${cut(name)}: ${listed.join(", ")}${rest}.`;
}

/** A text of any length as a message has it, without control characters. */
function cut(text: string): string {
  const shown = text.length > 60 ? `${text.slice(0, 60)}…` : text;
  return shown.replace(/\p{C}/gu, "?");
}
