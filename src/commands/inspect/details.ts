// What inspect shows of a buffer, in JSON and as text.

import { bytesText, count, grouped } from "../../cli/format.ts";
import { tableLines } from "../../cli/table.ts";
import type { Style } from "../../cli/terminal.ts";
import {
  type BufferFile,
  cancellationOf,
  inspectBuffer,
  type MetadataPreview,
  type Oieb,
} from "../../core/inspection.ts";
import type { InspectDocument } from "../../schemas/inspect.ts";
import { entryOf, paintOf, participantText, rateBetween } from "../list/entry.ts";

const DEGRADED_FROM_PERCENT = 80;
const CRITICAL_ABOVE_PERCENT = 95;

const COMMAND_LENGTH = 60;

/** The document before the first look. */
export const blankDetails = (buffer: string | null): InspectDocument => ({
  operation: "inspect",
  buffer_name: buffer,
  state: null,
  fault: null,
  size_bytes: null,
  payload_size: null,
  used_bytes: null,
  used_percent: null,
  frames_written: null,
  frames_read: null,
  frames_per_second: null,
  sharing: null,
  writer: null,
  reader: null,
  health: null,
  oieb: null,
  cancellation: null,
  semaphores: { written: null, released: null },
  metadata: null,
  files: [],
  errors: [],
});

/**
 * Fills the document with the current state of the buffer. Returns false, and changes nothing, if it is missing.
 *
 * @param before what was seen last, to count frames for a rate.
 */
export function look(
  name: string,
  document: InspectDocument,
  before: { readonly frames: number | null; readonly at: number } | null,
): boolean {
  const view = inspectBuffer(name);
  if (view === undefined) return false;
  const snapshot = view.snapshot();
  const seconds = before === null ? 0 : (performance.now() - before.at) / 1000;
  const rate = before && rateBetween(before.frames, view.framesWritten(), seconds);
  const entry = entryOf(snapshot, rate);
  Object.assign(document, {
    ...entry,
    health: healthOf(entry.used_percent),
    oieb: snapshot.oieb && publish(snapshot.oieb),
    cancellation: snapshot.oieb && cancellationOf(snapshot.oieb.flags),
    semaphores: view.semaphores(),
    metadata: publishMetadata(view.metadata()),
    files: view.files().map(publishFile),
  } satisfies Partial<InspectDocument>);
  return true;
}

function healthOf(usedPercent: number | null): InspectDocument["health"] {
  if (usedPercent === null) return null;
  if (usedPercent < DEGRADED_FROM_PERCENT) return "healthy";
  return usedPercent <= CRITICAL_ABOVE_PERCENT ? "degraded" : "critical";
}

function publish(oieb: Oieb): InspectDocument["oieb"] {
  return {
    oieb_size: oieb.oiebSize,
    version: oieb.version.slice(0, 3).join("."),
    metadata_size: oieb.metadataSize,
    metadata_free_bytes: oieb.metadataFreeBytes,
    metadata_written_bytes: oieb.metadataWrittenBytes,
    payload_size: oieb.payloadSize,
    payload_free_bytes: oieb.payloadFreeBytes,
    payload_write_pos: oieb.payloadWritePos,
    payload_read_pos: oieb.payloadReadPos,
    payload_written_count: oieb.payloadWrittenCount,
    payload_read_count: oieb.payloadReadCount,
    writer_pid: Number(oieb.writerPid),
    reader_pid: Number(oieb.readerPid),
    answer: `${oieb.answer}`,
    released_descriptors: oieb.releasedDescriptors,
    mark: Number(oieb.mark),
    flags: Number(oieb.flags),
  };
}

function publishMetadata(metadata: MetadataPreview | null): InspectDocument["metadata"] {
  if (metadata === null) return null;
  const { size, encoding, preview, isTruncated } = metadata;
  return { size_bytes: size, encoding, preview, truncated: isTruncated };
}

function publishFile({ path, owner, group, mode }: BufferFile): InspectDocument["files"][number] {
  return {
    path,
    owner: owner.name,
    uid: owner.id,
    group: group.name,
    gid: group.id,
    mode: mode.toString(8).padStart(4, "0"),
  };
}

/** The buffer as text; no lines if it was not read. */
export function linesOf(document: InspectDocument, style: Style): string[] {
  const { state, fault } = document;
  if (state === null && fault === null) return [];
  const rows: [label: string, text: string | null][] = [
    ["Buffer", style.bold(document.buffer_name ?? "")],
    ["State", stateText(document, style)],
    ["Memory", memoryText(document)],
    ["Used", usedText(document)],
    ["Frames", framesText(document)],
    ["Ring", ringText(document)],
    ["Semaphores", semaphoresText(document)],
    ["Sharing", sharingText(document)],
    ["Writer", participantText(document.writer, COMMAND_LENGTH)],
    ["Reader", participantText(document.reader, COMMAND_LENGTH)],
    ["Metadata", metadataText(document)],
    ...document.files.map((file, at): [string, string] => [at === 0 ? "Files" : "", fileText(file)]),
  ];
  const shown = rows.flatMap(([label, text]) =>
    text === null ? [] : [[{ text: label, paint: "dim" as const }, { text }]],
  );
  return tableLines(shown, style);
}

function stateText({ state, health, fault }: InspectDocument, style: Style): string {
  const name = style[paintOf(state)](state ?? "unknown");
  return [name, health, fault].filter((part) => part !== null).join(", ");
}

/** What is said of cancellations of a duplex channel. */
const CANCELLATION = { heeded: ", honours cancellation", table: ", cancellation table" } as const;

function memoryText({ size_bytes, oieb, payload_size, cancellation }: InspectDocument): string {
  if (size_bytes === null) return "none: only a lock file is left";
  if (oieb === null || payload_size === null) return count(size_bytes, "bytes");
  const parts = `metadata ${grouped(oieb.metadata_size)}, ring ${grouped(payload_size)}`;
  return `${count(size_bytes, "bytes")}: ${parts}; protocol ${oieb.version}, flags ${oieb.flags}${cancellation === null ? "" : CANCELLATION[cancellation]}`;
}

function usedText({ used_bytes, used_percent, payload_size }: InspectDocument): string | null {
  if (used_bytes === null || payload_size === null) return null;
  return `${bytesText(used_bytes)} of ${bytesText(payload_size)} (${used_percent} %)`;
}

function framesText({ frames_written, frames_read, frames_per_second }: InspectDocument): string | null {
  if (frames_written === null || frames_read === null) return null;
  const rate = frames_per_second === null ? "" : `, ${grouped(frames_per_second)} per second`;
  return `${grouped(frames_written)} written, ${grouped(frames_read)} read${rate}`;
}

function ringText({ oieb }: InspectDocument): string | null {
  if (oieb === null) return null;
  const { payload_write_pos, payload_read_pos, payload_free_bytes } = oieb;
  return (
    `write position ${grouped(payload_write_pos)}, read position ${grouped(payload_read_pos)}, ` +
    `${grouped(payload_free_bytes)} free`
  );
}

function sharingText({ sharing }: InspectDocument): string | null {
  if (sharing === null) return null;
  const { descriptors_released, forwarder_pid, lag_frames, source } = sharing;
  const parts: string[] = [];
  if (sharing.takes_descriptors) parts.push("takes frames of other buffers");
  if (source === "refused") parts.push("has refused a source");
  if (source === "attached")
    parts.push(`process ${forwarder_pid} shares a source, ${count(lag_frames ?? 0, "frames")} not released`);
  if (descriptors_released > 0) parts.push(`${count(descriptors_released, "shared frames")} released`);
  if (sharing.mapped_by_targets) parts.push("readers of other buffers have it mapped");
  return parts.length === 0 ? null : parts.join("; ");
}

function semaphoresText({ semaphores: { written, released } }: InspectDocument): string {
  const text = (tokens: number | null) => (tokens === null ? "missing" : grouped(tokens));
  return `written ${text(written)}, released ${text(released)}`;
}

function metadataText({ metadata, payload_size }: InspectDocument): string | null {
  if (metadata === null) return payload_size === null ? null : "none";
  const { size_bytes, encoding, preview, truncated } = metadata;
  const more = truncated ? " …" : "";
  return `${count(size_bytes, "bytes")}${encoding === "hex" ? " in hex" : ""}: ${preview.replace(/\s+/g, " ")}${more}`;
}

/** A file as ls shows it: `0660 alice:video /dev/shm/cam`. */
function fileText({ path, owner, uid, group, gid, mode }: InspectDocument["files"][number]): string {
  const accounts = uid === null ? "" : `${owner ?? uid}:${group ?? gid} `;
  return `${mode} ${accounts}${path}`;
}
