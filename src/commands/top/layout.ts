// The columns of top: what they show, and how wide they are.

import type { Style } from "../../cli/terminal.ts";
import type { TopEntry } from "../../schemas/top.ts";
import { paintOf } from "../list/entry.ts";
import type { Row, Sort } from "./model.ts";

/** A ring that is fuller than this is shown in yellow, and than that in red: as the health of inspect. */
const [DEGRADED_FROM, CRITICAL_ABOVE] = [80, 95];

/** One column. */
export interface Column {
  readonly title: string;
  /** The key for which its title is marked. */
  readonly sort?: Sort;
  readonly width: number;
  readonly isRight?: boolean;
  text(row: Row, width: number): string;
  paint?(row: Row): keyof Style | undefined;
}

/** Shown while there are targets. */
const LAG: Column = { title: "LAG", width: 4, isRight: true, text: (row) => lagText(row) };

/**
 * The columns that fit a line. What is left of it goes to the name and the processes; the bars of the last minute need a
 * terminal of 110 columns.
 */
export function columnsFor(width: number, rows: readonly Row[]): Column[] {
  const isWide = width >= 110;
  const fixed: Column[] = [
    {
      title: "STATE",
      sort: "state",
      width: 7,
      text: ({ state }) => state ?? "?",
      paint: ({ state }) => paintOf(state),
    },
    {
      title: "FILL",
      sort: "fill",
      width: isWide ? 13 : 9,
      text: ({ used_percent }, room) => fillText(used_percent, room - 5),
      paint: ({ used_percent }) => paintOfFill(used_percent),
    },
    {
      title: "FRAMES/S",
      sort: "frames",
      width: 8,
      isRight: true,
      text: ({ frames_per_second }) => rateText(frames_per_second),
    },
    {
      title: "BYTES/S",
      sort: "bytes",
      width: 8,
      isRight: true,
      text: ({ bytes_per_second }) => (bytes_per_second === null ? "-" : shortBytes(bytes_per_second)),
    },
    { title: "AGE", sort: "age", width: 4, isRight: true, text: ageText },
    { title: "WAITS", width: 6, text: waitsText },
    ...(rows.some(({ sharing }) => (sharing?.lag_frames ?? null) !== null) ? [LAG] : []),
  ];
  const gap = gapFor(width);
  const minute: Column[] = isWide
    ? [
        {
          title: "LAST MINUTE",
          width: width >= 150 ? 30 : 15,
          text: ({ history }, room) => history.spark(room),
        },
      ]
    : [];
  const taken = [...fixed, ...minute].reduce((sum, column) => sum + column.width + gap, 0);
  const left = width - MARK_WIDTH - taken - 2 * gap;
  const longest = Math.max(4, ...rows.map(({ buffer_name }) => buffer_name.length));
  const name = Math.max(8, Math.min(longest, Math.max(12, Math.floor(left / 3))));
  const process = Math.max(5, Math.floor((left - name) / 2));
  return [
    { title: "NAME", sort: "name", width: name, text: ({ buffer_name }) => buffer_name },
    ...fixed,
    { title: "WRITER", width: process, text: ({ writer }) => processText(writer) },
    { title: "READER", width: process, text: ({ reader }) => processText(reader) },
    ...minute,
  ];
}

/** The columns in front of the name, which mark the selected row. */
export const MARK_WIDTH = 2;

/** The blanks between columns. */
export const gapFor = (width: number) => (width >= 110 ? 2 : 1);

/** A bar of so many columns, and the percentage: `███░ 75%`. */
function fillText(percent: number | null, bar: number): string {
  if (percent === null) return "";
  const full = percent > 0 ? Math.max(1, Math.round((percent / 100) * bar)) : 0;
  return `${"█".repeat(full)}${"░".repeat(bar - full)} ${`${Math.round(percent)}%`.padStart(4)}`;
}

function paintOfFill(percent: number | null): keyof Style | undefined {
  if (percent === null || percent < DEGRADED_FROM) return undefined;
  return percent > CRITICAL_ABOVE ? "red" : "yellow";
}

/** A rate in at most eight characters. */
export function rateText(rate: number | null): string {
  if (rate === null) return "-";
  if (rate >= 1e6) return `${(rate / 1e6).toFixed(2)} M`;
  if (rate >= 10 || Number.isInteger(rate)) return Math.round(rate).toLocaleString("en-US");
  return rate.toFixed(1);
}

/** Bytes in at most eight characters: `1.2 GiB`, `64 KiB`. */
export function shortBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let [value, unit] = [bytes, 0];
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** How old the last frame is. Of a buffer without one since the first look: at least how old, or nothing. */
function ageText({ last_frame_age_seconds: age, quietSeconds, frames_written }: Row): string {
  if (age !== null) return secondsText(age);
  return frames_written ? `>${secondsText(quietSeconds).replace("<", "")}` : "-";
}

/** A time in at most three characters. */
export function secondsText(seconds: number): string {
  if (seconds < 1) return "<1s";
  for (const [unit, size, next] of [
    ["s", 1, 60],
    ["m", 60, 60],
    ["h", 3600, 24],
  ] as const) {
    if (seconds < size * next) return `${Math.floor(seconds / size)}${unit}`;
  }
  return `${Math.min(99, Math.floor(seconds / 86_400))}d`;
}

export function waitsText({ waits: { writer, reader } }: TopEntry): string {
  if (writer && reader) return "both";
  if (writer) return "writer";
  return reader ? "reader" : "-";
}

/** How many frames the reader of a target has not released. */
export function lagText({ sharing }: TopEntry): string {
  const lag = sharing?.lag_frames ?? null;
  if (lag === null) return "-";
  return lag < 1000 ? `${lag}` : `${Math.floor(lag / 1000)}k`;
}

/** A process by its pid here and the name of its program. */
function processText(process: TopEntry["writer"]): string {
  if (process === null) return "-";
  const { pid, host_pid, command, alive } = process;
  if (pid === 0) return "starting";
  if (!alive) return `${pid} dead`;
  // In a pid namespace that cannot be looked into from here.
  if (host_pid === null) return `${pid} ?`;
  return command === null ? `${host_pid}` : `${host_pid} ${command.replace(/^\S*\//, "")}`;
}
