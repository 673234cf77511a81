// What can be seen of buffers from outside, and what can be done about those that nobody uses: list, inspect, clean, doctor.

export { howToRemove } from "./buffer/objects.ts";
export type { Oieb } from "./buffer/oieb.ts";
export { type BufferState, removeIfStale } from "./buffer/stale.ts";
export {
  BufferView,
  findBuffers,
  findForsakenSemaphores,
  type MetadataPreview,
  type Participant,
  type Snapshot,
} from "./inspection/buffers.ts";
export { diagnose, type Finding } from "./inspection/doctor.ts";
