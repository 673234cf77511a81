// The token that a browser must have.

import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { closeSync, constants, fstatSync, mkdirSync, openSync, readFileSync, writeSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { CommandError, systemReason } from "../../cli/failure.ts";

const RANDOM_BYTES = 24;

/** What a token may be: nothing that an address would have to write otherwise, and long enough not to be guessed. */
const TOKEN = /^[\w.~-]{16,256}$/;

/** A token that nobody has seen. */
export function randomToken(): string {
  return randomBytes(RANDOM_BYTES).toString("base64url");
}

/**
 * The token in a file.
 *
 * @throws CommandError IO_ERROR if it cannot be read, USAGE if that is no token.
 */
export function tokenIn(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, "utf8").trim();
  } catch (error) {
    throw new CommandError(
      "IO_ERROR",
      `Cannot read ${path}: ${systemReason(error)}.`,
      "Check the path.",
      error,
    );
  }
  if (TOKEN.test(text)) return text;
  throw new CommandError(
    "USAGE",
    `The file of --token-file, ${path}, has no token: 16 to 256 letters, digits, and . _ ~ or -.`,
    `Make one: head -c 24 /dev/urandom | base64 | tr +/ -_ > ${path}`,
  );
}

/**
 * The token of a server on a port that the user has chosen: a random one, which is kept for this user, so that pages which are open
 * come back when the server is started again. If it cannot be kept it is another one each time.
 */
export function keptToken(port: number): string {
  const directory = join(process.env.XDG_STATE_HOME || join(homedir(), ".local", "state"), "zerobuffer");
  const path = join(directory, `view-${port}.token`);
  const { O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW = 0 } = constants;
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const kept = readOwn(path, O_RDONLY | O_NOFOLLOW);
    if (kept !== undefined) return kept;
    const token = randomToken();
    const file = openSync(path, O_WRONLY | O_CREAT | O_EXCL, 0o600);
    writeSync(file, token);
    closeSync(file);
    return token;
  } catch {
    return randomToken();
  }
}

/** The token in a file that nobody else can read or has written; undefined if there is none. */
function readOwn(path: string, flags: number): string | undefined {
  let file: number;
  try {
    file = openSync(path, flags);
  } catch {
    return undefined;
  }
  try {
    const { mode, uid } = fstatSync(file);
    const isOwn = process.platform === "win32" || (uid === process.getuid?.() && (mode & 0o077) === 0);
    const text = readFileSync(file, "utf8");
    return isOwn && TOKEN.test(text) ? text : undefined;
  } finally {
    closeSync(file);
  }
}

/** Whether a text is the token, in a time that does not tell how much of it is right. */
export function isToken(text: unknown, token: string): boolean {
  const digest = (value: string) => createHash("sha256").update(value).digest();
  return typeof text === "string" && timingSafeEqual(digest(text), digest(token));
}
