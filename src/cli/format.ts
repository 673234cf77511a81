// Figures of a run: for JSON (finite or null) and as text.

/** Amount per second; `null` if no time passed. */
export function perSecond(amount: number, seconds: number): number | null {
  if (amount === 0) return 0;
  return seconds > 0 ? Math.round((amount / seconds) * 1000) / 1000 : null;
}

/** MiB per second. */
export function mebibytesPerSecond(bytes: number, seconds: number): number | null {
  return perSecond(bytes / 2 ** 20, seconds);
}

/** The duration and speed of a run, as its JSON document has them. */
export function speedFigures(frames: number, bytes: number, seconds: number) {
  return {
    duration_seconds: seconds,
    throughput_mbps: mebibytesPerSecond(bytes, seconds),
    frames_per_second: perSecond(frames, seconds),
  };
}

/** A count with its unit, which loses its final s for 1: `1 frame`, `20,000 frames`. */
export function count(value: number, units: string): string {
  return `${grouped(value)} ${value === 1 ? units.replace(/s$/, "") : units}`;
}

/** Bytes in a suitable unit: `1.5 GiB`. */
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

/** Duration and speed: `in 0.25 s: 80,000 frames/s, 78.1 MiB/s`. */
export function speedText(frames: number, bytes: number, seconds: number, units = "frames"): string {
  const time = `in ${grouped(seconds, seconds < 10 ? 3 : 1)} s`;
  if (seconds === 0) return time;
  return `${time}: ${grouped(frames / seconds)} ${units}/s, ${bytesText(bytes / seconds)}/s`;
}

/** A number with commas between its thousands: `20,000`, and `0.5` with a decimal. */
export function grouped(value: number, decimals = 0): string {
  return value.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
}

/** The median of at least one value. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}
