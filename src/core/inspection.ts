// The public API for looking after buffers from outside, "zerobuffer/inspection": list, inspect and clean them, and check the
// machine.

export { cancellationOf } from "./buffer/cancellations.ts";
export { removalAdvice } from "./buffer/objects.ts";
export type { Oieb } from "./buffer/oieb.ts";
export {
  type BufferState,
  type Cleanup,
  type CleanupObstacle,
  type CleanupOptions,
  cleanBuffer,
} from "./buffer/stale.ts";
export type { Account, BufferFile } from "./inspection/buffer-files.ts";
export {
  type BufferSnapshot,
  type InspectedBuffer,
  inspectBuffer,
  listBuffers,
  type MetadataPreview,
  type Participant,
  type SemaphoreValues,
  type Waits,
} from "./inspection/buffers.ts";
export { diagnose, type Finding } from "./inspection/doctor.ts";
export { Places } from "./inspection/places.ts";
export type { RecentFrames } from "./inspection/recent-frames.ts";
export type { SharingState } from "./inspection/sharing.ts";
