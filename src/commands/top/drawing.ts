// The lines of top's screen.

import { bytesText, count, grouped } from "../../cli/format.ts";
import { fit } from "../../cli/screen.ts";
import type { Style } from "../../cli/terminal.ts";
import { linesOf } from "../inspect/details.ts";
import { participantText } from "../list/entry.ts";
import { type Column, columnsFor, gapFor, MARK_WIDTH, rateText, shortBytes } from "./layout.ts";
import type { Model, Row } from "./model.ts";

export interface Size {
  readonly rows: number;
  readonly columns: number;
}

/** Rows above the buffers: the title and the heads of the columns. */
const HEAD_ROWS = 2;

/** Below them: what is selected in more detail, if there is room for that, and the keys. */
const PANEL_ROWS = 5;
const KEY_ROWS = 1;

/** A screen with fewer rows has no panel. */
const LEAST_FOR_PANEL = 16;

/** How many buffers the screen has room for. */
export function roomFor({ rows }: Size): number {
  const panel = rows >= LEAST_FOR_PANEL ? PANEL_ROWS : 0;
  return Math.max(1, rows - HEAD_ROWS - panel - KEY_ROWS);
}

/** The lines of the whole screen. Scrolls to the selected row. */
export function screenOf(model: Model, size: Size, style: Style, hasKeys: boolean): string[] {
  const lines =
    model.view === "list"
      ? listScreen(model, size, style)
      : [titleOf(model, style), "", ...pageOf(model, style)];
  // One row more, which the lines leave free for a cursor.
  const shown = fit(lines, size.rows, size.columns, style);
  const blank = Array.from({ length: Math.max(0, size.rows - KEY_ROWS - shown.length) }, () => "");
  return [...shown, ...blank, keysOf(model, style, hasKeys)].map((line) => cut(line, size.columns));
}

function listScreen(model: Model, size: Size, style: Style): string[] {
  const room = roomFor(size);
  model.scroll(room);
  const columns = columnsFor(size.columns, model.shown);
  const rows = model.shown.slice(model.offset, model.offset + room);
  const lines = rows.map((row, at) => rowLine(row, model.offset + at === model.index, columns, size, style));
  if (model.rows.length === 0) lines.push("No buffers.");
  else if (rows.length === 0) lines.push("No buffer matches the filter.");
  const blank = Array.from({ length: Math.max(0, room - lines.length) }, () => "");
  const panel = size.rows >= LEAST_FOR_PANEL ? panelOf(model.selected, size.columns, style) : [];
  return [titleOf(model, style), headLine(model, columns, size, style), ...lines, ...blank, ...panel];
}

function titleOf(model: Model, style: Style): string {
  const { rows, shown, filter, isTyping } = model;
  const states = Map.groupBy(rows, ({ state }) => state ?? "unreadable");
  const parts = [...states].map(([state, members]) => `${members.length} ${state}`).sort();
  const sum = (rate: (row: Row) => number | null) => rows.reduce((total, row) => total + (rate(row) ?? 0), 0);
  const frames = rateText(Math.round(sum(({ frames_per_second }) => frames_per_second)));
  const bytes = shortBytes(sum(({ bytes_per_second }) => bytes_per_second));
  const filtered =
    filter === "" && !isTyping ? "" : `  filter (${grouped(shown.length)}): ${filter}${isTyping ? "_" : ""}`;
  const total = rows.length === 0 ? "no buffers" : `${count(rows.length, "buffers")}: ${parts.join(", ")}`;
  return `${style.bold("zerobuffer top")}  ${total}  ${frames} frames/s  ${bytes}/s${style.yellow(filtered)}`;
}

function headLine(model: Model, columns: readonly Column[], { columns: width }: Size, style: Style): string {
  const cells = columns.map(({ title, sort, ...column }) => {
    const mark = sort === model.sort ? (model.isReversed ? "▲" : "▼") : "";
    return aligned(`${title}${mark}`, column);
  });
  return style.bold(`${" ".repeat(MARK_WIDTH)}${cells.join(" ".repeat(gapFor(width)))}`);
}

function rowLine(
  row: Row,
  isSelected: boolean,
  columns: readonly Column[],
  { columns: width }: Size,
  style: Style,
): string {
  const cells = columns.map((column, at) => {
    const text = aligned(column.text(row, column.width), column);
    const paint = column.paint?.(row);
    if (paint !== undefined) return style[paint](text);
    return isSelected && at === 0 ? style.bold(text) : text;
  });
  return `${isSelected ? style.bold("> ") : "  "}${cells.join(" ".repeat(gapFor(width)))}`;
}

function aligned(text: string, { width, isRight = false }: Pick<Column, "width" | "isRight">): string {
  const shown = cut(text, width);
  const padding = " ".repeat(Math.max(0, width - Bun.stringWidth(shown)));
  return isRight ? padding + shown : shown + padding;
}

function cut(text: string, width: number): string {
  return Bun.stringWidth(text) <= width ? text : `${Bun.sliceAnsi(text, 0, width - 1)}…`;
}

/** What the row of the selected buffer has no room for. */
function panelOf(row: Row | undefined, width: number, style: Style): string[] {
  if (row === undefined) return Array.from({ length: PANEL_ROWS }, () => "");
  const label = (text: string) => style.dim(text.padEnd(LABEL_WIDTH));
  const highest = row.history.highest;
  const scale = highest === null ? "" : `  ${rateText(highest)} frames/s at most`;
  const bars = Math.max(10, Math.min(60, width - LABEL_WIDTH - scale.length));
  return [
    "",
    `${style.bold(row.buffer_name)}  ${sizesText(row)}`,
    `${label("writer")}${participantText(row.writer, width)}`,
    `${label("reader")}${participantText(row.reader, width)}`,
    `${label("last minute")}${row.history.spark(bars)}${scale}`,
  ];
}

const LABEL_WIDTH = 13;

function sizesText({
  payload_size,
  size_bytes,
  frames_written,
  frames_read,
  frame_size,
  fault,
}: Row): string {
  if (fault !== null) return fault;
  if (payload_size === null) return size_bytes === null ? "only a lock file is left" : bytesText(size_bytes);
  const counts = `${grouped(frames_written ?? 0)} written, ${grouped(frames_read ?? 0)} read`;
  const frames = frame_size === null ? "" : `, ${bytesText(frame_size)} a frame`;
  return `ring of ${bytesText(payload_size)}: ${counts}${frames}`;
}

function pageOf(model: Model, style: Style): string[] {
  if (model.view === "help") return HELP.map(([key, text]) => `  ${style.bold(key.padEnd(14))}${text}`);
  return model.details === undefined
    ? [`Buffer "${model.inspected}" is gone.`]
    : linesOf(model.details, style);
}

/** The keys, and what the columns mean. */
const HELP: readonly (readonly [string, string])[] = [
  ["↑ ↓ k j", "select a buffer; also PgUp, PgDn, Home, End"],
  ["Enter", "show the selected buffer in every detail; Esc goes back"],
  ["s S", "sort by the next or the previous column"],
  ["r", "reverse the order"],
  ["/", "show only buffers whose name, state or processes contain a text; Esc shows all"],
  ["q", "leave; also Ctrl-C"],
  ["", ""],
  ["STATE", "live: writer and reader; idle: reader alone; orphan: writer alone; stale: neither"],
  ["FILL", "how much of the ring is in use"],
  ["BYTES/S", "an estimate: frames per second times the size of frames at the start of the ring"],
  ["AGE", "time since a new frame was noticed; >5m: none came in the 5 minutes of watching"],
  ["WAITS", "who sleeps: the writer until there is room, the reader until there is a frame"],
  ["LAG", "frames that are passed on without a copy, and that the reader has not released"],
  ["WRITER READER", "pid and program; 7 ? has pid 7 in a container that cannot be seen from here"],
];

function keysOf(model: Model, style: Style, hasKeys: boolean): string {
  if (!hasKeys) return style.dim("Ctrl-C leaves; there are no keys: stdin is no terminal");
  if (model.isTyping) return style.dim("type a text   Enter keep it   Esc show all");
  if (model.view === "list") {
    return style.dim("q quit   ↑↓ select   Enter inspect   s sort   r reverse   / filter   ? help");
  }
  return style.dim("q quit   Esc back");
}
