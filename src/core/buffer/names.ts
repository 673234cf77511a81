// The names of buffers and channels.

import { InvalidNameError } from "../errors.ts";

/** Longest name, in bytes: with its prefix, a semaphore's file name reaches the file system's limit of 255. */
const MAX_NAME_LENGTH = 245;

const RULE = "Use 1 to 245 of the characters A-Z a-z 0-9 . _ - and do not start with '.', '-' or 'sem.'.";

/**
 * Checks the name of a buffer: 1 to 245 of the characters A-Z a-z 0-9 . _ - that do not start with '.', '-' or 'sem.'
 * (docs/protocol.md, section 1). All functions that take a name do this first.
 *
 * @throws InvalidNameError if the name is not allowed.
 */
export function checkName(name: string): void {
  const fault = faultOf(name);
  if (fault === undefined) return;
  const what = typeof name === "string" ? JSON.stringify(name) : "This value";
  throw new InvalidNameError(`${what} cannot be the name of a buffer: ${fault}.`, { hint: RULE });
}

/** The two buffers of a duplex channel (docs/protocol.md, section 9). */
export interface ChannelBuffers {
  /** Name of the buffer that the server creates and reads. */
  readonly requests: string;
  /** Name of the buffer that the client creates and reads. */
  readonly responses: string;
}

const REQUEST_SUFFIX = "_request";
const RESPONSE_SUFFIX = "_response";

/** Longest name of a channel, in bytes. */
const MAX_CHANNEL_LENGTH = MAX_NAME_LENGTH - RESPONSE_SUFFIX.length;

/**
 * The names of the two buffers of a duplex channel.
 *
 * @throws InvalidNameError if the channel's name is not allowed for a buffer, or has more than 236 bytes.
 */
export function buffersOf(channel: string): ChannelBuffers {
  checkName(channel);
  if (channel.length > MAX_CHANNEL_LENGTH) {
    throw new InvalidNameError(
      `${JSON.stringify(channel)} cannot be the name of a channel: it has more than ${MAX_CHANNEL_LENGTH} bytes.`,
      { hint: "Its two buffers have longer names: use a shorter one." },
    );
  }
  return { requests: `${channel}${REQUEST_SUFFIX}`, responses: `${channel}${RESPONSE_SUFFIX}` };
}

/** The name of the channel whose requests go through this buffer; undefined if the buffer's name is not such a name. */
export function channelOf(buffer: string): string | undefined {
  return buffer.endsWith(REQUEST_SUFFIX) ? buffer.slice(0, -REQUEST_SUFFIX.length) : undefined;
}

/** Whether a buffer can have this name. */
export function isName(name: string): boolean {
  return faultOf(name) === undefined;
}

function faultOf(name: string): string | undefined {
  if (typeof name !== "string") return `it is ${name === null ? "null" : typeof name}, not a string`;
  if (name.length === 0) return "it is empty";
  if (name.length > MAX_NAME_LENGTH) return `it has more than ${MAX_NAME_LENGTH} bytes`;
  const foreign = /[^A-Za-z0-9._-]/u.exec(name);
  if (foreign !== null) return `it contains ${JSON.stringify(foreign[0])}`;
  if (name.startsWith(".") || name.startsWith("-")) return `it starts with '${name[0]}'`;
  if (name.startsWith("sem.")) return "it starts with 'sem.', as semaphore files do";
  return undefined;
}
