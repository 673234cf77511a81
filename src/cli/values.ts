// How values are written on the command line. Each parser returns `undefined` for a text that it does not accept.

/** The longest duration that fits a timer: about 24 days. */
export const MAX_DURATION_MS = 2 ** 31 - 1;

/** A whole number, plain or with a suffix for a power of 1000 (K, M, G). */
export function parseCount(text: string, min: number, max: number): number | undefined {
  return parseScaled(text, COUNT_UNITS, min, max);
}

/** A positive decimal number. */
export function parseRate(text: string): number | undefined {
  if (!/^\d+(\.\d+)?$/.test(text)) return undefined;
  const rate = Number(text);
  return rate > 0 && Number.isFinite(rate) ? rate : undefined;
}

/** What the suffixes of a count stand for. */
const COUNT_UNITS: Readonly<Record<string, number>> = { K: 1e3, M: 1e6, G: 1e9 };

/** Bytes of each suffix of a size. */
const SIZE_UNITS: Readonly<Record<string, number>> = {
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
};

/** Milliseconds of each suffix of a duration. */
const DURATION_UNITS: Readonly<Record<string, number>> = { us: 1e-3, ms: 1, s: 1e3, m: 60e3 };

/** Bytes: plain, or with a binary (K, M, G, KiB, MiB, GiB) or decimal (KB, MB, GB) suffix. */
export function parseSize(text: string, min: number, max: number): number | undefined {
  return parseScaled(text, SIZE_UNITS, min, max);
}

/** Bytes as addresses have them: plain, or with B, KB, MB, GB or TB, or these with an i or without B, all powers of 1024. */
export function parseAddressSize(text: string, min: number, max: number): number | undefined {
  const [, amount, prefix = ""] = /^(\d+(?:\.\d+)?)(?:([KMGT])(?:i?B)?|B)?$/i.exec(text) ?? [];
  const size = Number(amount) * 1024 ** " KMGT".indexOf(prefix.toUpperCase() || " ");
  return Number.isInteger(size) ? inRange(size, min, max) : undefined;
}

/** Digits, or a number with a suffix that makes it whole. A minus sign is read so that the range can refuse it. */
function parseScaled(
  text: string,
  units: Readonly<Record<string, number>>,
  min: number,
  max: number,
): number | undefined {
  if (/^-?\d+$/.test(text)) return inRange(Number(text), min, max);
  const [, amount, suffix = ""] = /^(\d+(?:\.\d+)?)([KMG](?:i?B)?)$/.exec(text) ?? [];
  const exact = Number(amount) * (units[suffix] ?? Number.NaN);
  const whole = Math.round(exact);
  // 1.001KB is 1000.9999999999999 in floating point, and yet a whole number of bytes.
  return Math.abs(exact - whole) < 1e-6 ? inRange(whole, min, max) : undefined;
}

/** Milliseconds: plain, or with a suffix (us, ms, s, m). */
export function parseDuration(text: string): number | undefined {
  const [, amount, suffix = "ms"] = /^(\d+(?:\.\d+)?)(us|ms|s|m)?$/.exec(text) ?? [];
  return inRange(Number(amount) * (DURATION_UNITS[suffix] ?? Number.NaN), 0, MAX_DURATION_MS);
}

/** Permission bits in octal, with or without a leading zero. */
export function parseMode(text: string): number | undefined {
  return /^0?[0-7]{3}$/.test(text) ? Number.parseInt(text, 8) : undefined;
}

/** Bytes as `--help` shows them: with a binary suffix if that leaves a whole number, from 16 KiB on. */
export function formatSize(size: number): string {
  if (size < 16 * 1024) return `${size}`;
  const units = [
    ["GiB", 2 ** 30],
    ["MiB", 2 ** 20],
    ["KiB", 2 ** 10],
  ] as const;
  const [suffix, unit] = units.find(([, unit]) => size % unit === 0) ?? ["", 1];
  return `${size / unit}${suffix}`;
}

/** Milliseconds as `--help` shows them: with the largest suffix that leaves a whole number. */
export function formatDuration(milliseconds: number): string {
  const units = [
    ["m", 60_000],
    ["s", 1000],
    ["ms", 1],
  ] as const;
  const [suffix, unit] = units.find(([, unit]) => milliseconds > 0 && milliseconds % unit === 0) ?? ["", 1];
  return `${milliseconds / unit}${suffix}`;
}

/** Where a server listens. */
export interface Endpoint {
  /** A name, or an address; of IPv6 without brackets. */
  readonly host: string;
  /** 0: any that is free. */
  readonly port: number;
}

/** The address that only this machine can reach. */
const LOOPBACK = "127.0.0.1";

/** A port, after an address and a colon unless it is a port of this machine alone. */
export function parseEndpoint(text: string): Endpoint | undefined {
  const [, v6, name, digits] = /^(?:(?:\[([\da-fA-F:.]+)\]|([\w.-]+)):)?(\d{1,5})$/.exec(text) ?? [];
  const port = digits === undefined ? undefined : inRange(Number(digits), 0, 65_535);
  return port === undefined ? undefined : { host: v6 ?? name ?? LOOPBACK, port };
}

function inRange(value: number, min: number, max: number): number | undefined {
  return value >= min && value <= max ? value : undefined;
}

/** A time with three digits and a unit. */
export function timeText(us: number): string {
  const [value, unit] = us < 1000 ? [us, "µs"] : us < 1e6 ? [us / 1000, "ms"] : [us / 1e6, "s"];
  return `${value.toPrecision(3).replace(/e\+3$/, "")} ${unit}`;
}
