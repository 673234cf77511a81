// Which names a buffer can have.

import { InvalidNameError } from "../errors.ts";

/** Longest name, in bytes: with its prefix, a semaphore's file name reaches the file system's limit of 255. */
const MAX_NAME_LENGTH = 245;

const RULE = "Use 1 to 245 of the characters A-Z a-z 0-9 . _ - and do not start with '.', '-' or 'sem.'.";

/**
 * Checks a buffer's name before anything is done with it (docs/protocol.md, section 1).
 *
 * @throws InvalidNameError if any implementation could take it for something else than a plain name.
 */
export function checkName(name: string): void {
  const fault = faultOf(name);
  if (fault === undefined) return;
  const what = typeof name === "string" ? JSON.stringify(name) : "This";
  throw new InvalidNameError(`${what} cannot be the name of a buffer: ${fault}.`, { hint: RULE });
}

/** The two buffers of a duplex channel (docs/protocol.md, section 9). */
export interface ChannelBuffers {
  /** The server creates and reads it. */
  readonly requests: string;
  /** The client creates and reads it. */
  readonly responses: string;
}

/** What a channel's name has behind it in the name of its buffer of requests. */
const REQUEST_SUFFIX = "_request";

/**
 * The buffers of a channel.
 *
 * @throws InvalidNameError if the channel's name is not one of 1 to 236 bytes that a buffer could have.
 */
export function buffersOf(channel: string): ChannelBuffers {
  checkName(channel);
  const buffers = { requests: `${channel}${REQUEST_SUFFIX}`, responses: `${channel}_response` };
  checkName(buffers.responses);
  return buffers;
}

/** The channel whose requests go through this buffer, by its name; undefined if it has not the name of such a buffer. */
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
