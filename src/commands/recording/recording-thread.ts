// The thread that compresses and writes a recording, so that the one that reads the rings never waits for a disk.

import { explain, systemCode } from "../../cli/failure.ts";
import type { Answer, Task, ThreadFailure, Written } from "./plan.ts";
import { RecordingFiles } from "./recording-files.ts";

declare const self: Worker;

/** What a chunk of this size was compressed to is collected at once: left alone, several such copies would wait for that. */
const LARGE_SIZE = 16 * 1024 * 1024;

const NOTHING: Written = { files: [], bytes: 0 };

/** Runs the tasks that come, until the thread that has started this one ends it. */
export async function runRecordingThread(): Promise<never> {
  let files: RecordingFiles | undefined;
  let hasFailed = false;
  self.onmessage = ({ data: task }: MessageEvent<Task>) => {
    if (hasFailed) return;
    try {
      if (task.kind === "open") files = new RecordingFiles(task.plan);
      else if (task.kind === "chunk") files?.addChunk(new Uint8Array(task.buffer, 0, task.size));
      else if (task.kind === "metadata") files?.addMetadata(task.channel, task.bytes, task.timeNs);
      else files?.end();
      const buffer = task.kind === "chunk" ? task.buffer : undefined;
      if (task.kind === "chunk" && task.size > LARGE_SIZE) Bun.gc(true);
      answer({ written: files?.written ?? NOTHING, buffer });
    } catch (error) {
      hasFailed = true;
      answer({ written: files?.written ?? NOTHING, failure: failureOf(error) });
    }
  };
  answer({ written: NOTHING });
  return await new Promise(() => {});
}

function answer(message: Answer): void {
  const moved = "buffer" in message && message.buffer !== undefined ? [message.buffer] : [];
  self.postMessage(message, moved);
}

function failureOf(error: unknown): ThreadFailure {
  if (systemCode(error) === "EPIPE") {
    return { code: undefined, message: "Its reader has closed stdout.", hint: undefined };
  }
  const { code, hint, message, stack } = explain(error);
  return { code, message, hint: hint ?? undefined, stack };
}
