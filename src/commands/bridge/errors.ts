// What a NATS client's errors mean to the user of a bridge. Nothing of them is printed that may hold a secret.

import { CommandError } from "../../cli/failure.ts";
import { ZeroBufferError } from "../../core/index.ts";

/** What is wrong with the machine or the network, by the system's code. */
const NETWORK: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection reset",
  EHOSTUNREACH: "no route to the host",
  ENETUNREACH: "no route to the network",
  ETIMEDOUT: "no answer",
  ENOTFOUND: "the name of the host is unknown",
  EAI_AGAIN: "the name of the host cannot be looked up",
};

/** Whether an attempt to connect may succeed later: nobody was there. */
export function isWorthRetrying(error: unknown): boolean {
  if (nameOf(error) === "AuthorizationError") return false;
  return nameOf(error) === "TimeoutError" || reasonOf(error) !== undefined;
}

/** The number of an error of JetStream; undefined for other errors. */
export function apiCode(error: unknown): number | undefined {
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === "number" ? code : undefined;
}

/** Whether JetStream may do later what it has not done: it is starting, or did not answer. */
export function isTemporary(error: unknown): boolean {
  if (
    ["TimeoutError", "JetStreamNotEnabled", "NoRespondersError", "RequestError"].includes(nameOf(error) ?? "")
  )
    return true;
  return apiCode(error) === TEMPORARILY_UNAVAILABLE;
}

const TEMPORARILY_UNAVAILABLE = 10008;

/** Why nobody was there; undefined if somebody was. */
function reasonOf(error: unknown): string | undefined {
  const codes = [error, (error as Error | undefined)?.cause].map(
    (one) => (one as { code?: unknown } | undefined)?.code,
  );
  const known = codes.find((code) => typeof code === "string" && Object.hasOwn(NETWORK, code));
  if (typeof known === "string") return NETWORK[known];
  if (error === undefined) return "the connection was closed";
  return nameOf(error) === "ConnectionError" && /refused/.test((error as Error).message)
    ? "connection refused"
    : undefined;
}

function nameOf(error: unknown): string | undefined {
  return error instanceof Error ? error.name : undefined;
}

/** An error of the client in the words of the command. One that is none of the client's is left as it is. */
export function explainBroker(error: unknown, shown: string): Error {
  if (error instanceof CommandError || error instanceof ZeroBufferError) return error;
  const reason = nameOf(error) === "TimeoutError" ? "no answer" : reasonOf(error);
  if (reason !== undefined) {
    return new CommandError(
      "PEER_TIMEOUT",
      `No NATS server answers at ${shown}: ${reason}.`,
      "Start the server, or name another one with --server; zerobuffer doctor --server URL checks one.",
    );
  }
  if (!(error instanceof Error)) return new Error(`${error}`);
  const { message } = error;
  switch (error.name) {
    case "AuthorizationError":
    case "UserAuthenticationExpiredError":
      return new CommandError(
        "PERMISSION_DENIED",
        `The NATS server ${shown} refuses this user: ${message.toLowerCase()}.`,
        "Check --creds, or --user and its password (--password-file or NATS_PASSWORD).",
      );
    case "PermissionViolationError": {
      const { operation, subject } = error as Error & { operation: string; subject: string };
      const deed = operation === "publish" ? "publish to" : "subscribe to";
      return new CommandError(
        "PERMISSION_DENIED",
        `The NATS server does not permit this user to ${deed} ${subject}.`,
        "docs/bridge.md lists the permissions that a bridge needs.",
      );
    }
    case "JetStreamNotEnabled":
    case "NoRespondersError":
      return noJetStream(shown);
    case "JetStreamApiError":
    case "StreamNotFoundError":
    case "ConsumerNotFoundError":
      return explainApi(error as Error & { code: number }, shown);
    case "ConnectionError":
    case "ClosedConnectionError":
    case "ProtocolError":
    case "RequestError":
    case "InvalidArgumentError":
      return new CommandError("IO_ERROR", `The connection to the NATS server ${shown} failed: ${message}.`);
    default:
      return systemFault(error, shown) ?? error;
  }
}

/** {@link explainBroker} for an attempt to connect: whatever fails there is no bug. */
export function explainConnect(error: unknown, shown: string): CommandError {
  const explained = explainBroker(error, shown);
  if (explained instanceof CommandError) return explained;
  return new CommandError("IO_ERROR", `Cannot connect to the NATS server ${shown}: ${explained.message}.`);
}

/** Errors of TLS and of the system have codes. */
function systemFault(error: Error, shown: string): CommandError | undefined {
  const { code } = error as { code?: unknown };
  if (typeof code !== "string") return undefined;
  return new CommandError(
    "IO_ERROR",
    `The connection to the NATS server ${shown} failed: ${error.message}.`,
    "If the server uses TLS, check --tls-ca, --tls-cert and --tls-key.",
  );
}

export function noJetStream(shown: string): CommandError {
  return new CommandError(
    "IO_ERROR",
    `The NATS server ${shown} has no JetStream, or this user must not use it.`,
    "Start the server with JetStream (nats-server -js), or leave out --stream.",
  );
}

function explainApi(error: Error & { code: number }, shown: string): CommandError {
  const { code, message } = error;
  switch (code) {
    case 10039:
    case 10076:
      return noJetStream(shown);
    case 10065:
      return new CommandError(
        "IO_ERROR",
        `Another stream keeps the same subject: ${message} (${code}).`,
        "Name that stream with --stream, or use another --subject.",
      );
    case 10059:
      return new CommandError(
        "IO_ERROR",
        "The stream is not there.",
        "The publisher makes it: zerobuffer bridge publish --stream NAME.",
      );
    default:
      return new CommandError(
        "RESOURCE_EXHAUSTED",
        `JetStream refuses: ${message} (${code}).`,
        "Check the limits of the stream and of the server: --stream-max-bytes, max_mem, max_file.",
      );
  }
}
