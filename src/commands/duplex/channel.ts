// Rewords failures of a channel's two buffers: users know the channel, not the buffers.

import { CommandError } from "../../cli/failure.ts";
import { wordingOfBuffer } from "../../cli/other-kind.ts";
import { buffersOf, ReaderDeadError, WriterDeadError, ZeroBufferError } from "../../core/index.ts";

/** The message and hint to show instead. */
interface Wording {
  readonly message: string;
  readonly hint: string;
}

/** A failure, worded for a client of the channel. */
export function rewordForClient(error: unknown, channel: string | null): unknown {
  return reword(error, channel, wordingForClient);
}

/** A failure, worded for the server of the channel. */
export function rewordForServer(error: unknown, channel: string | null): unknown {
  return reword(error, channel, wordingForServer);
}

function reword(
  error: unknown,
  channel: string | null,
  wordingFor: (error: ZeroBufferError, channel: string) => Wording | undefined,
): unknown {
  if (channel === null || !(error instanceof ZeroBufferError)) return error;
  // A failure without a buffer, such as a request that is too large, belongs to the channel.
  if (error.buffer !== undefined && !Object.values(buffersOf(channel)).includes(error.buffer)) return error;
  const wording = wordingFor(error, channel);
  return wording === undefined ? error : new CommandError(error.code, wording.message, wording.hint, error);
}

function wordingForClient(error: ZeroBufferError, channel: string): Wording | undefined {
  if (error instanceof ReaderDeadError || error instanceof WriterDeadError) {
    return {
      message: `The server of channel "${channel}" has ${error.reason}.`,
      hint: "Restart the server, then the client.",
    };
  }
  const START = "Start the server (zerobuffer duplex serve), or raise --connect-timeout-ms.";
  switch (error.code) {
    case "BUFFER_NOT_FOUND":
      return wordingOfBuffer(channel) ?? { message: `Channel "${channel}" has no server.`, hint: START };
    case "PEER_TIMEOUT":
      return {
        message: `The server of channel "${channel}" cannot be reached. ${error.message}`,
        hint: START,
      };
    case "WRITER_ALREADY_CONNECTED":
    case "READER_ALREADY_CONNECTED":
      return {
        message: `Channel "${channel}" already has a client${processIn(error)}.`,
        hint: "A channel serves one client at a time: wait until that client ends, or use another channel.",
      };
    case "FRAME_TOO_LARGE":
      return {
        message: error.message,
        hint: "Send smaller requests, or start the server with a larger --buffer-size.",
      };
    case "PERMISSION_DENIED":
      // Another fault of the machine has its own remedy.
      if (!error.hint?.includes("`mode`")) return undefined;
      return {
        message: error.message,
        hint: "Run as the user who runs the server, or give both sides wider --permissions.",
      };
    case "METADATA_TOO_LARGE":
      return { message: error.message, hint: "Start the server with a larger --metadata-size." };
    default:
      return undefined;
  }
}

function wordingForServer(error: ZeroBufferError, channel: string): Wording | undefined {
  if (error.code === "PERMISSION_DENIED" && error.hint?.includes("`mode`")) {
    return {
      message: error.message,
      hint: "Run the server as the user who runs its client, or give both sides wider --permissions.",
    };
  }
  if (error.code !== "READER_ALREADY_CONNECTED") return undefined;
  return {
    message: `Channel "${channel}" already has a server${processIn(error)}.`,
    hint: "A channel has one server: stop the other server, or use another channel.",
  };
}

/** The process that an error names, in parentheses. */
function processIn({ message }: ZeroBufferError): string {
  return / \(process \d+\)/.exec(message)?.[0] ?? "";
}
