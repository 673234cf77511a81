// Starts the fixtures that most tests here use, and waits until they are ready.

import { closeSync, openSync, writeSync } from "node:fs";
import {
  type BufferConfig,
  type ClientOptions,
  Reader,
  type ReaderOptions,
  type WriterOptions,
} from "../../src/core/index.ts";
import { uniqueName, WAIT_LIMIT_MS } from "../support/buffers.ts";
import { Child, fixtureCommand } from "../support/process.ts";
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

/** A reader that has made its buffer: fixtures/reader.ts, perhaps in a container. */
export async function startReader(
  name: string,
  options: Stream & BufferConfig & Pick<ReaderOptions, "allowPayloadSharing">,
  within: readonly string[] = [],
): Promise<Child> {
  const config = { sizes: "same", metadataSize: 256, ...options };
  const reader = Child.program(fixtureCommand("reader.ts", name, config), { within });
  await reader.receive("ready");
  return reader;
}

/** A writer that is connected: fixtures/writer.ts, perhaps in a container. */
export async function startWriter(
  name: string,
  options: Stream & WriterOptions,
  within: readonly string[] = [],
): Promise<Child> {
  const config = { sizes: "same", connectTimeoutMs: WAIT_LIMIT_MS, ...options };
  const writer = Child.program(fixtureCommand("writer.ts", name, config), { within });
  await writer.receive("connected");
  return writer;
}

/** Sizes of a duplex channel's buffers. */
export const DUPLEX_SIZES = { metadataSize: 256, payloadSize: 4 * 1024 * 1024 };

/** A duplex server at work: fixtures/duplex-server.ts. */
export async function startDuplexServer(
  channel: string,
  options: object = {},
  within: readonly string[] = [],
): Promise<Child> {
  const config = { ...DUPLEX_SIZES, ...options };
  const server = Child.program(fixtureCommand("duplex-server.ts", channel, config), { within });
  await server.receive("ready");
  return server;
}

/** A duplex client that is connected: fixtures/duplex-client.ts. */
export async function startDuplexClient(
  channel: string,
  options: BufferConfig & Pick<ClientOptions, "allowPayloadSharing"> = {},
  within: readonly string[] = [],
): Promise<Child> {
  const config = { ...DUPLEX_SIZES, ...options };
  const client = Child.program(fixtureCommand("duplex-client.ts", channel, config), { within });
  await client.receive("connected");
  return client;
}

/** Removes what readers that were killed have left, as every reader does first when it starts. */
export function sweep(): void {
  new Reader(uniqueName(), { metadataSize: 0, payloadSize: 64 }).close();
}

/** Kills a process, and returns when it was told to, on the clock that all processes share. */
export async function kill(child: Child): Promise<number> {
  const at = Date.now();
  child.kill("SIGKILL");
  await child.exited();
  return at;
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
