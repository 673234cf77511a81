// Starts the fixtures that most tests here use, and waits until they are ready.

import { closeSync, openSync, writeSync } from "node:fs";
import { type BufferConfig, Reader, type WriterOptions } from "../../src/core/index.ts";
import { uniqueName, WAIT_LIMIT_MS } from "../support/buffers.ts";
import { Child } from "../support/process.ts";
import type { Sizes } from "./fixtures/frames.ts";

/** Bytes of a frame's header in the ring. */
export const HEADER = 16;

/** Options of a command that leaves every wait to the test's own patience. */
export const PATIENT = "--timeout-ms 60s --connect-timeout-ms 60s";

/** The frames of a stream: `sizes` defaults to frames that all have the largest size. */
interface Stream {
  largest: number;
  sizes?: Sizes;
}

/** A reader that has made its buffer: fixtures/reader.ts. */
export async function startReader(name: string, options: Stream & BufferConfig): Promise<Child> {
  const reader = Child.fixture("reader.ts", name, { sizes: "same", metadataSize: 256, ...options });
  await reader.receive("ready");
  return reader;
}

/** A writer that is connected: fixtures/writer.ts. */
export async function startWriter(name: string, options: Stream & WriterOptions): Promise<Child> {
  const writer = Child.fixture("writer.ts", name, {
    sizes: "same",
    connectTimeoutMs: WAIT_LIMIT_MS,
    ...options,
  });
  await writer.receive("connected");
  return writer;
}

/** Sizes of a duplex channel's buffers. */
export const DUPLEX_SIZES = { metadataSize: 256, payloadSize: 4 * 1024 * 1024 };

/** A duplex server at work: fixtures/duplex-server.ts. */
export async function startDuplexServer(channel: string, options: object = {}): Promise<Child> {
  const server = Child.fixture("duplex-server.ts", channel, { ...DUPLEX_SIZES, ...options });
  await server.receive("ready");
  return server;
}

/** A duplex client that is connected: fixtures/duplex-client.ts. */
export async function startDuplexClient(channel: string, options: BufferConfig = {}): Promise<Child> {
  const client = Child.fixture("duplex-client.ts", channel, { ...DUPLEX_SIZES, ...options });
  await client.receive("connected");
  return client;
}

/** Removes what readers that were killed have left, as every reader does first when it starts. */
export function sweep(): void {
  new Reader(uniqueName(), { metadataSize: 0, payloadSize: 64 }).close();
}

/** Ends fixtures that have nothing more to do; each has to succeed. */
export async function endAll(...children: Child[]): Promise<void> {
  for (const child of children) await child.succeed();
}

/** Takes all tokens of written frames away, as if their posts had been lost. */
export function loseTokens(name: string): void {
  const file = openSync(`/dev/shm/sem.sem-w-${name}`, "r+");
  writeSync(file, new Uint8Array(4), 0, 4, 0);
  closeSync(file);
}
