// Figures about a run: for JSON, where they are finite or null, and for people.

/** Work done a second; `null` where it took no measurable time. */
export function perSecond(amount: number, seconds: number): number | null {
  if (amount === 0) return 0;
  return seconds > 0 ? Math.round((amount / seconds) * 1000) / 1000 : null;
}

/** MiB a second. */
export function mebibytesPerSecond(bytes: number, seconds: number): number | null {
  return perSecond(bytes / 2 ** 20, seconds);
}

/** How long a run took and how fast it went, as its JSON document has it. */
export function speedFigures(frames: number, bytes: number, seconds: number) {
  return {
    duration_seconds: seconds,
    throughput_mbps: mebibytesPerSecond(bytes, seconds),
    frames_per_second: perSecond(frames, seconds),
  };
}

/** A count with its unit, which only loses its final s: `1 frame`, `20,000 frames`. */
export function count(value: number, units: string): string {
  return `${grouped(value)} ${value === 1 ? units.replace(/s$/, "") : units}`;
}

/** Bytes in the unit that suits them: `1.5 GiB`. */
export function bytesText(bytes: number): string {
  for (const [unit, size] of [
    ["GiB", 2 ** 30],
    ["MiB", 2 ** 20],
    ["KiB", 2 ** 10],
  ] as const) {
    if (bytes >= size) return `${grouped(bytes / size, 1)} ${unit}`;
  }
  return count(bytes, "bytes");
}

/** How long it took and how fast it went: `in 0.25 s: 80,000 frames/s, 78.1 MiB/s`. */
export function speedText(frames: number, bytes: number, seconds: number, units = "frames"): string {
  const time = `in ${grouped(seconds, seconds < 10 ? 3 : 1)} s`;
  if (seconds === 0) return time;
  return `${time}: ${grouped(frames / seconds)} ${units}/s, ${bytesText(bytes / seconds)}/s`;
}

/** A number with commas between its thousands: `20,000`, and `0.5` with a decimal. */
export function grouped(value: number, decimals = 0): string {
  return value.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
}

/** The middle of some values, of which there is at least one. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}
