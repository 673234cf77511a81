// One look at all buffers, as a table for a file or a pipe.

import { type Cell, tableLines } from "../../cli/table.ts";
import type { Style } from "../../cli/terminal.ts";
import type { TopEntry } from "../../schemas/top.ts";
import { paintOf, participantText } from "../list/entry.ts";
import { lagText, rateText, secondsText, shortBytes, waitsText } from "./layout.ts";

const COMMAND_LENGTH = 60;

const TITLES = ["NAME", "STATE", "FILL", "FRAMES/S", "BYTES/S", "AGE", "WAITS", "LAG", "WRITER", "READER"];

/** The columns of numbers. */
const RIGHT = ["FILL", "FRAMES/S", "BYTES/S", "AGE", "LAG"];

/** The lines of the table. */
export function snapshotLines(buffers: readonly TopEntry[], style: Style): string[] {
  if (buffers.length === 0) return ["No buffers."];
  // Shown if there are targets.
  const isShown = (title: string | undefined) =>
    title !== "LAG" || buffers.some((entry) => lagText(entry) !== "-");
  const titles = TITLES.filter(isShown);
  const head = titles.map((title): Cell => ({ text: title, paint: "bold", ...alignmentOf(title) }));
  const rows = buffers.map((entry) => rowOf(entry).filter((_, column) => isShown(TITLES[column])));
  return tableLines([head, ...rows], style);
}

function rowOf(entry: TopEntry): Cell[] {
  const { state, used_percent, bytes_per_second, last_frame_age_seconds } = entry;
  const texts = [
    entry.buffer_name,
    state ?? "?",
    used_percent === null ? "-" : `${Math.round(used_percent)} %`,
    rateText(entry.frames_per_second),
    bytes_per_second === null ? "-" : shortBytes(bytes_per_second),
    last_frame_age_seconds === null ? "-" : secondsText(last_frame_age_seconds),
    waitsText(entry),
    lagText(entry),
    participantText(entry.writer, COMMAND_LENGTH),
    participantText(entry.reader, COMMAND_LENGTH),
  ];
  return texts.map((text, column) => ({
    text,
    ...(column === 1 && { paint: paintOf(state) }),
    ...alignmentOf(TITLES[column]),
  }));
}

function alignmentOf(title: string | undefined): Pick<Cell, "alignment"> {
  return RIGHT.includes(title ?? "") ? { alignment: "right" } : {};
}
