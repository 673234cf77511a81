// One look at all buffers, as a table for a file or a pipe.

import { type Cell, tableLines } from "../../cli/table.ts";
import type { Style } from "../../cli/terminal.ts";
import type { TopEntry } from "../../schemas/top.ts";
import { paintOf, participantText } from "../list/entry.ts";
import { rateText, secondsText, shortBytes, waitsText } from "./layout.ts";

const COMMAND_LENGTH = 60;

const TITLES = ["NAME", "STATE", "FILL", "FRAMES/S", "BYTES/S", "AGE", "WAITS", "WRITER", "READER"];

/** The columns of numbers. */
const RIGHT = ["FILL", "FRAMES/S", "BYTES/S", "AGE"];

/** The lines of the table. */
export function snapshotLines(buffers: readonly TopEntry[], style: Style): string[] {
  if (buffers.length === 0) return ["No buffers."];
  const head = TITLES.map((title): Cell => ({ text: title, paint: "bold", ...alignmentOf(title) }));
  return tableLines([head, ...buffers.map(rowOf)], style);
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
