// Failures of a channel's buffers in the terms of those who use it: its server and its client.

import { CommandError } from "../../cli/failure.ts";
import { buffersOf, ReaderDeadError, WriterDeadError, ZeroBufferError } from "../../core/index.ts";

/** What a user is told instead. */
interface Wording {
  readonly message: string;
  readonly hint: string;
}

/** A failure as a client of the channel is told. */
export function rewordForClient(error: unknown, channel: string | null): unknown {
  return reword(error, channel, wordingForClient);
}

/** A failure as the server of the channel is told. */
export function rewordForServer(error: unknown, channel: string | null): unknown {
  return reword(error, channel, wordingForServer);
}

function reword(
  error: unknown,
  channel: string | null,
  wordingFor: (error: ZeroBufferError, channel: string) => Wording | undefined,
): unknown {
  if (channel === null || !(error instanceof ZeroBufferError)) return error;
  // A frame that is too large is refused before a buffer is asked.
  if (error.buffer !== undefined && !Object.values(buffersOf(channel)).includes(error.buffer)) return error;
  const wording = wordingFor(error, channel);
  return wording === undefined ? error : new CommandError(error.code, wording.message, wording.hint, error);
}

function wordingForClient(error: ZeroBufferError, channel: string): Wording | undefined {
  if (error instanceof ReaderDeadError || error instanceof WriterDeadError) {
    return {
      message: `The server of channel "${channel}" has ${error.reason}.`,
      hint: "Start it again, then the client.",
    };
  }
  const START = "Start the server (zerobuffer duplex serve), or wait longer for it (--connect-timeout-ms).";
  switch (error.code) {
    case "BUFFER_NOT_FOUND":
      return { message: `Channel "${channel}" has no server.`, hint: START };
    case "PEER_TIMEOUT":
      return {
        message: `The server of channel "${channel}" cannot be reached. ${error.message}`,
        hint: START,
      };
    case "WRITER_ALREADY_CONNECTED":
    case "READER_ALREADY_CONNECTED":
      return {
        message: `Channel "${channel}" has a client already${processIn(error)}.`,
        hint: "A channel serves one client at a time: wait for the end of that one, or use another channel.",
      };
    case "FRAME_TOO_LARGE":
      return {
        message: error.message,
        hint: "Send smaller requests, or give the server a larger --buffer-size.",
      };
    case "PERMISSION_DENIED":
      return {
        message: error.message,
        hint: "Run as the user who runs the server, or start the server with a umask that lets others write.",
      };
    case "METADATA_TOO_LARGE":
      return { message: error.message, hint: "Give the server a larger --metadata-size." };
    default:
      return undefined;
  }
}

function wordingForServer(error: ZeroBufferError, channel: string): Wording | undefined {
  if (error.code !== "READER_ALREADY_CONNECTED") return undefined;
  return {
    message: `Channel "${channel}" has a server already${processIn(error)}.`,
    hint: "A channel has one server: end the other one, or use another channel.",
  };
}

/** The process that an error names, as it names it. */
function processIn({ message }: ZeroBufferError): string {
  return / \(process \d+\)/.exec(message)?.[0] ?? "";
}
