// Figures as texts.

import { grouped } from "../../../cli/format.ts";

export { bytesText, count, grouped } from "../../../cli/format.ts";

/** The text in place of a figure that is not known. */
export const UNKNOWN = "–";

/** A rate, with a decimal if it is small. */
export function rateText(rate: number | null): string {
  return rate === null ? UNKNOWN : grouped(rate, rate > 0 && rate < 10 ? 1 : 0);
}

/** A time in milliseconds with a unit. */
export function millisecondsText(ms: number): string {
  if (Math.abs(ms) < 1000) return `${ms.toFixed(Math.abs(ms) < 10 ? 1 : 0)} ms`;
  return ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : `${grouped(ms / 60_000)} min`;
}

/** Units, the largest first and 1 last. */
type Units = readonly (readonly [unit: string, size: number])[];

const THOUSANDS: Units = [
  ["G", 1e9],
  ["M", 1e6],
  ["k", 1e3],
  ["", 1],
];
const BYTES: Units = [
  [" GiB", 2 ** 30],
  [" MiB", 2 ** 20],
  [" KiB", 2 ** 10],
  [" B", 1],
];

/** A short form of a number for an axis: 1.5k, 20M. */
export function shortText(value: number): string {
  return inUnits(value, THOUSANDS);
}

/** Bytes in a short form for an axis: 1.5 MiB. */
export function shortBytes(value: number): string {
  return inUnits(value, BYTES);
}

function inUnits(value: number, units: Units): string {
  const [unit, size] = units.find(([, size]) => value >= size) ?? units.at(-1)!;
  return `${+(value / size).toPrecision(3)}${unit}`;
}
