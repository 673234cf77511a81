// What the build has to know of executables and libraries: for which system they are, and what a library exports.
//
// Read from the file, because most of them cannot be loaded where they are built.

import type { OperatingSystem, Target } from "../targets.ts";

/** What a file was built for. */
export interface Platform {
  readonly os: OperatingSystem;
  readonly arch: Target["arch"];
}

/**
 * What an executable or library was built for.
 *
 * @throws if it is no 64-bit ELF, Mach-O or PE file for a processor that there are targets for.
 */
export function platformOf(file: Buffer): Platform {
  if (file.readUInt32BE(0) === ELF_MAGIC)
    return { os: "linux", arch: archOf(file.readUInt16LE(18), 62, 183) };
  if (file.readUInt32LE(0) === MACH_O_MAGIC)
    return { os: "darwin", arch: archOf(file.readUInt32LE(4), 0x1000007, 0x100000c) };
  if (file.toString("latin1", 0, 2) === "MZ")
    return { os: "windows", arch: archOf(file.readUInt16LE(peHeader(file) + 4), 0x8664, 0xaa64) };
  throw new Error("it is neither ELF nor Mach-O nor PE");
}

/**
 * The names that a library exports, without the underscore that Mach-O puts before them; sorted.
 *
 * @throws as {@link platformOf}, or if its tables are not as its format wants them.
 */
export function exportsOf(library: Buffer): string[] {
  const read = { linux: elfExports, darwin: machOExports, windows: peExports }[platformOf(library).os];
  return read(library).sort();
}

function archOf(machine: number, x64: number, arm64: number): Target["arch"] {
  if (machine === x64) return "x64";
  if (machine === arm64) return "arm64";
  throw new Error(`it is for a processor of number ${machine}`);
}

function textAt(file: Buffer, offset: number): string {
  return file.toString("latin1", offset, file.indexOf(0, offset));
}

// ---- ELF: elf.h ----------------------------------------------------------------------------------------------------

const ELF_MAGIC = 0x7f454c46;
const SHT_DYNSYM = 11;
const SYMBOL_SIZE = 24;

function elfExports(file: Buffer): string[] {
  const sections = Number(file.readBigUInt64LE(0x28));
  const [sectionSize, sectionCount] = [file.readUInt16LE(0x3a), file.readUInt16LE(0x3c)];
  const fieldOf = (index: number, offset: number) =>
    Number(file.readBigUInt64LE(sections + index * sectionSize + offset));
  for (let index = 0; index < sectionCount; index++) {
    const header = sections + index * sectionSize;
    if (file.readUInt32LE(header + 4) !== SHT_DYNSYM) continue;
    const names = fieldOf(file.readUInt32LE(header + 0x28), 0x18);
    const start = fieldOf(index, 0x18);
    const count = fieldOf(index, 0x20) / SYMBOL_SIZE;
    return Array.from({ length: count }, (_, at) => start + at * SYMBOL_SIZE)
      .filter((symbol) => {
        const isGlobal = file.readUInt8(symbol + 4) >> 4 !== 0;
        const isDefined = file.readUInt16LE(symbol + 6) !== 0;
        return isGlobal && isDefined;
      })
      .map((symbol) => textAt(file, names + file.readUInt32LE(symbol)));
  }
  throw new Error("it has no dynamic symbols");
}

// ---- Mach-O: mach-o/loader.h ---------------------------------------------------------------------------------------

const MACH_O_MAGIC = 0xfeedfacf;
const LC_DYLD_INFO_ONLY = 0x80000022;
const LC_DYLD_EXPORTS_TRIE = 0x80000033;

const LC_SEGMENT_64 = 0x19;

/** The offset in the file of the load command of this kind; undefined if there is none. */
export function loadCommand(file: Buffer, kind: number): number | undefined {
  return loadCommands(file).find((command) => file.readUInt32LE(command) === kind);
}

/**
 * A segment: its load command, and what of the file it is, in bytes.
 *
 * @throws if there is none of the name.
 */
export function segment(file: Buffer, name: string): { command: number; offset: number; size: number } {
  const command = loadCommands(file).find(
    (command) => file.readUInt32LE(command) === LC_SEGMENT_64 && textAt(file, command + 8) === name,
  );
  if (command === undefined) throw new Error(`it has no segment ${name}`);
  const [offset, size] = [40, 48].map((field) => Number(file.readBigUInt64LE(command + field))) as [
    number,
    number,
  ];
  return { command, offset, size };
}

function loadCommands(file: Buffer): number[] {
  const offsets: number[] = [];
  let offset = 32;
  for (let count = file.readUInt32LE(16); count > 0; count--) {
    offsets.push(offset);
    offset += file.readUInt32LE(offset + 4);
  }
  return offsets;
}

function machOExports(file: Buffer): string[] {
  const trie = loadCommand(file, LC_DYLD_EXPORTS_TRIE);
  const info = loadCommand(file, LC_DYLD_INFO_ONLY);
  const start = trie !== undefined ? trie + 8 : info !== undefined ? info + 40 : undefined;
  if (start === undefined) throw new Error("it has no table of exports");
  const names: string[] = [];
  const root = file.readUInt32LE(start);
  readTrie(file, root, root, "", names);
  return names.map((name) => name.replace(/^_/, ""));
}

/** Each node: the size of what it says of a name that ends here, that, and its children: a piece of name, and where. */
function readTrie(file: Buffer, root: number, node: number, prefix: string, names: string[]): void {
  const size = readUleb(file, node);
  if (size.value > 0) names.push(prefix);
  let offset = size.end + size.value;
  const children = file.readUInt8(offset++);
  for (let child = 0; child < children; child++) {
    const piece = textAt(file, offset);
    const target = readUleb(file, offset + piece.length + 1);
    readTrie(file, root, root + target.value, prefix + piece, names);
    offset = target.end;
  }
}

function readUleb(file: Buffer, offset: number): { value: number; end: number } {
  let value = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = file.readUInt8(offset++);
    value += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) return { value, end: offset };
  }
}

// ---- PE: the specification of Microsoft ----------------------------------------------------------------------------

function peHeader(file: Buffer): number {
  const header = file.readUInt32LE(0x3c);
  if (file.toString("latin1", header, header + 4) !== "PE\0\0") throw new Error("it has no PE header");
  return header;
}

function peExports(file: Buffer): string[] {
  const header = peHeader(file);
  const optionalHeader = header + 24;
  const sections = optionalHeader + file.readUInt16LE(header + 20);
  /** Addresses are those of the memory that the file is loaded into. */
  const offsetOf = (address: number): number => {
    for (let index = 0; index < file.readUInt16LE(header + 6); index++) {
      const section = sections + index * 40;
      const [start, size, offset] = [12, 16, 20].map((field) => file.readUInt32LE(section + field)) as [
        number,
        number,
        number,
      ];
      if (address >= start && address < start + size) return address - start + offset;
    }
    throw new Error(`address ${address} is in none of its sections`);
  };
  const directory = file.readUInt32LE(optionalHeader + 112);
  if (directory === 0) return [];
  const table = offsetOf(directory);
  const names = offsetOf(file.readUInt32LE(table + 32));
  return Array.from({ length: file.readUInt32LE(table + 24) }, (_, index) =>
    textAt(file, offsetOf(file.readUInt32LE(names + 4 * index))),
  );
}
