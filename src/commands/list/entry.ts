// What list and inspect show of a buffer, in JSON and as text.

import { perSecond } from "../../cli/format.ts";
import type { Style } from "../../cli/terminal.ts";
import type { BufferSnapshot, Participant } from "../../core/inspection.ts";
import type { BufferEntry } from "../../schemas/buffer-state.ts";

/** A buffer as both commands publish it; `framesPerSecond` is null if it was not measured. */
export function entryOf(snapshot: BufferSnapshot, framesPerSecond: number | null): BufferEntry {
  const { name, state, fault, size, writer, reader } = snapshot;
  const oieb = state === "corrupt" || snapshot.oieb?.oiebSize === 0 ? null : snapshot.oieb;
  const used = oieb && oieb.payloadSize - oieb.payloadFreeBytes;
  return {
    buffer_name: name,
    state,
    fault,
    size_bytes: size,
    payload_size: oieb?.payloadSize ?? null,
    used_bytes: used,
    used_percent: oieb && used !== null ? Math.round((used / oieb.payloadSize) * 1000) / 10 : null,
    frames_written: oieb?.payloadWrittenCount ?? null,
    frames_read: oieb?.payloadReadCount ?? null,
    frames_per_second: framesPerSecond,
    sharing: publishSharing(snapshot),
    writer: publish(writer),
    reader: publish(reader),
  };
}

function publishSharing({ sharing, writer }: BufferSnapshot): BufferEntry["sharing"] {
  if (sharing === null) return null;
  const { isMapped, lag, releasedDescriptors, source, takesDescriptors } = sharing;
  return {
    takes_descriptors: takesDescriptors,
    source,
    forwarder_pid: source === "attached" ? (writer?.pid ?? null) : null,
    descriptors_released: releasedDescriptors,
    lag_frames: lag,
    mapped_by_targets: isMapped,
  };
}

/** Whether frames are passed on without a copy through the buffer, or of it, or might have been. */
export function isSharing({ sharing }: Pick<BufferEntry, "sharing">): boolean {
  return sharing !== null && (sharing.source !== null || sharing.mapped_by_targets === true);
}

/** How frames come, and go on: `in` without a copy, `out` to readers of other buffers, or `ready` for that. */
export function sharingText(sharing: BufferEntry["sharing"]): string {
  if (sharing === null) return "-";
  const { mapped_by_targets, source, takes_descriptors } = sharing;
  const parts = [
    ...(source === "attached" ? ["in"] : source === "refused" ? ["refused"] : []),
    ...(mapped_by_targets ? ["out"] : []),
  ];
  if (parts.length > 0) return parts.join("+");
  return takes_descriptors ? "ready" : "-";
}

/** Frames per second between two counts; null if a count is missing or belongs to another buffer of this name. */
export function rateBetween(before: number | null, after: number | null, seconds: number): number | null {
  return before === null || after === null || after < before ? null : perSecond(after - before, seconds);
}

/** The colour of a state. */
export function paintOf(state: BufferEntry["state"]): keyof Style {
  if (state === "live" || state === "idle") return "green";
  return state === "corrupt" ? "red" : "yellow";
}

function publish(participant: Participant | null): BufferEntry["writer"] {
  if (participant === null) return null;
  const { pid, localPid, command, alive } = participant;
  return { pid, host_pid: localPid, command, alive };
}

/** A writer or reader in a few words: `4711 zerobuffer writer cam`, `7 of another container (host pid 4211)`. */
export function participantText(participant: BufferEntry["writer"], length: number): string {
  if (participant === null) return "-";
  const { pid, host_pid, command, alive } = participant;
  if (pid === 0) return "starting";
  if (!alive) return `${pid} dead`;
  if (host_pid === null) return `${pid}, not visible from here`;
  if (host_pid !== pid) return `${pid} of another container (host pid ${host_pid})`;
  if (command === null) return `${pid}`;
  return `${pid} ${command.length > length ? `${command.slice(0, length - 1)}…` : command}`;
}
