// Every way a buffer can fail: one class for each cause, each with a code that scripts can match.

/** The code of every error of this package. They are stable; the command line prints them as `error.code`. */
export const ERROR_CODES = [
  "BUFFER_NOT_FOUND",
  "PEER_TIMEOUT",
  "WRITER_ALREADY_CONNECTED",
  "READER_ALREADY_CONNECTED",
  "RESOURCE_EXHAUSTED",
  "PERMISSION_DENIED",
  "BUFFER_FULL",
  "READER_DEAD",
  "WRITER_DEAD",
  "IO_ERROR",
  "METADATA_ALREADY_WRITTEN",
  "FRAME_TOO_LARGE",
  "INVALID_FRAME_SIZE",
  "METADATA_TOO_LARGE",
  "INVALID_NAME",
  "SEQUENCE_ERROR",
  "CORRUPT_BUFFER",
  "CLOSED",
  "INTERNAL",
] as const;

/** One of the {@link ERROR_CODES}. */
export type ErrorCode = (typeof ERROR_CODES)[number];

/** What an error tells besides its message. All optional. */
export interface ErrorDetails {
  /** The name of the buffer that failed. */
  buffer?: string | undefined;
  /** What the user can do next, as one sentence. Options of the API are between backquotes. */
  hint?: string | undefined;
  /** The error that caused this one. */
  cause?: unknown;
}

/** Base of every error this package throws. `message` says what happened, `hint` what to do next. */
export class ZeroBufferError extends Error {
  override readonly name: string = "ZeroBufferError";
  /** What kind of failure this is. */
  readonly code: ErrorCode;
  /** The name of the buffer that failed; undefined if no single one did. */
  readonly buffer: string | undefined;
  /** What the user can do next, as one sentence; undefined if there is no advice. */
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.buffer = details.buffer;
    this.hint = details.hint;
  }
}

/** The base class of the errors with one code. The name is given: builds for release shorten those of classes. */
function errorWith(
  code: ErrorCode,
  name: string,
): new (
  message: string,
  details?: ErrorDetails,
) => ZeroBufferError {
  return class extends ZeroBufferError {
    override readonly name = name;

    constructor(message: string, details?: ErrorDetails) {
      super(code, message, details);
    }
  };
}

/** {@link errorWith} for errors that can have one of several reasons. */
function errorWithReason<Reason extends string>(
  code: ErrorCode,
  name: string,
): new (
  reason: Reason,
  message: string,
  details?: ErrorDetails,
) => ZeroBufferError & { readonly reason: Reason } {
  return class extends ZeroBufferError {
    override readonly name = name;
    readonly reason: Reason;

    constructor(reason: Reason, message: string, details?: ErrorDetails) {
      super(code, message, details);
      this.reason = reason;
    }
  };
}

/** No shared memory of that name exists: its reader has not started, or has closed. */
export class BufferNotFoundError extends errorWith("BUFFER_NOT_FOUND", "BufferNotFoundError") {}

/** The buffer exists, but no peer was ready for this one within the connect timeout. */
export class PeerTimeoutError extends errorWith("PEER_TIMEOUT", "PeerTimeoutError") {}

/** Another live writer is connected; a buffer has one writer at a time. */
export class WriterAlreadyConnectedError extends errorWith(
  "WRITER_ALREADY_CONNECTED",
  "WriterAlreadyConnectedError",
) {}

/** Another live reader owns the buffer; a buffer has one reader. */
export class ReaderAlreadyConnectedError extends errorWith(
  "READER_ALREADY_CONNECTED",
  "ReaderAlreadyConnectedError",
) {}

/** The system has not enough shared memory, descriptors or address space. */
export class ResourceExhaustedError extends errorWith("RESOURCE_EXHAUSTED", "ResourceExhaustedError") {}

/** The operating system refused access to one of the buffer's objects. */
export class PermissionDeniedError extends errorWith("PERMISSION_DENIED", "PermissionDeniedError") {}

/**
 * A write found no room; nothing of the frame was written. `reason` is `timeout` if the write timeout passed, and `signal`
 * if a signal ended the wait early.
 */
export class BufferFullError extends errorWithReason<"timeout" | "signal">(
  "BUFFER_FULL",
  "BufferFullError",
) {}

/** The reader is gone. `reason` is `left` if it closed the buffer, and `died` if its process ended without doing so. */
export class ReaderDeadError extends errorWithReason<"left" | "died">("READER_DEAD", "ReaderDeadError") {}

/**
 * The writer is gone, and every frame it wrote has been delivered. `reason` is `left` if it disconnected, and `died` if
 * its process ended without doing so.
 */
export class WriterDeadError extends errorWithReason<"left" | "died">("WRITER_DEAD", "WriterDeadError") {}

/** The frame can never fit: `16 + size > payloadSize`. */
export class FrameTooLargeError extends errorWith("FRAME_TOO_LARGE", "FrameTooLargeError") {}

/** A frame without bytes, or with a size that is not a whole number. */
export class InvalidFrameSizeError extends errorWith("INVALID_FRAME_SIZE", "InvalidFrameSizeError") {}

/** A frame has another sequence number than the expected one. */
export class SequenceError extends errorWith("SEQUENCE_ERROR", "SequenceError") {}

/** The shared memory holds what no correct peer writes; it cannot be used any further. */
export class CorruptBufferError extends errorWith("CORRUPT_BUFFER", "CorruptBufferError") {}

/** This writer has sent its metadata already; it can be sent once. */
export class MetadataAlreadyWrittenError extends errorWith(
  "METADATA_ALREADY_WRITTEN",
  "MetadataAlreadyWrittenError",
) {}

/** The metadata does not fit: `8 + length > metadataSize`, or it is empty. */
export class MetadataTooLargeError extends errorWith("METADATA_TOO_LARGE", "MetadataTooLargeError") {}

/** Not every implementation can use this buffer name (docs/protocol.md, section 1). */
export class InvalidNameError extends errorWith("INVALID_NAME", "InvalidNameError") {}

/** The object was closed, or the frame released, before this use of it: a mistake of the calling program. */
export class ClosedError extends errorWith("CLOSED", "ClosedError") {}
