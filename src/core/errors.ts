// Every way a buffer can fail, as one class per cause, each with a code that scripts can match.

/** The stable codes of all errors; the command line prints them as `error.code`. */
export type ErrorCode =
  | "BUFFER_NOT_FOUND"
  | "PEER_TIMEOUT"
  | "WRITER_ALREADY_CONNECTED"
  | "READER_ALREADY_CONNECTED"
  | "RESOURCE_EXHAUSTED"
  | "PERMISSION_DENIED"
  | "BUFFER_FULL"
  | "READER_DEAD"
  | "WRITER_DEAD"
  | "IO_ERROR"
  | "METADATA_ALREADY_WRITTEN"
  | "FRAME_TOO_LARGE"
  | "INVALID_FRAME_SIZE"
  | "METADATA_TOO_LARGE"
  | "INVALID_NAME"
  | "SEQUENCE_ERROR"
  | "CORRUPT_BUFFER"
  | "CLOSED"
  | "INTERNAL";

export interface ErrorDetails {
  /** Name of the buffer concerned. */
  buffer?: string | undefined;
  /** What the user can do next, as one sentence. */
  hint?: string | undefined;
  cause?: unknown;
}

/** Base of every error this package throws. `message` says what happened, `hint` what to do next. */
export class ZeroBufferError extends Error {
  override readonly name: string = "ZeroBufferError";
  readonly code: ErrorCode;
  readonly buffer: string | undefined;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.buffer = details.buffer;
    this.hint = details.hint;
  }
}

/** No shared memory of that name exists: its reader has not started, or has closed. */
export class BufferNotFoundError extends ZeroBufferError {
  override readonly name = "BufferNotFoundError";
  constructor(message: string, details?: ErrorDetails) {
    super("BUFFER_NOT_FOUND", message, details);
  }
}

/** The buffer exists, but nobody ready to take part in it appeared within the connect timeout. */
export class PeerTimeoutError extends ZeroBufferError {
  override readonly name = "PeerTimeoutError";
  constructor(message: string, details?: ErrorDetails) {
    super("PEER_TIMEOUT", message, details);
  }
}

/** Another live writer is connected; a buffer has one writer at a time. */
export class WriterAlreadyConnectedError extends ZeroBufferError {
  override readonly name = "WriterAlreadyConnectedError";
  constructor(message: string, details?: ErrorDetails) {
    super("WRITER_ALREADY_CONNECTED", message, details);
  }
}

/** Another live reader owns the buffer; a buffer has one reader. */
export class ReaderAlreadyConnectedError extends ZeroBufferError {
  override readonly name = "ReaderAlreadyConnectedError";
  constructor(message: string, details?: ErrorDetails) {
    super("READER_ALREADY_CONNECTED", message, details);
  }
}

/** The system has not enough shared memory, descriptors or address space. */
export class ResourceExhaustedError extends ZeroBufferError {
  override readonly name = "ResourceExhaustedError";
  constructor(message: string, details?: ErrorDetails) {
    super("RESOURCE_EXHAUSTED", message, details);
  }
}

/** The operating system refused access to one of the buffer's objects. */
export class PermissionDeniedError extends ZeroBufferError {
  override readonly name = "PermissionDeniedError";
  constructor(message: string, details?: ErrorDetails) {
    super("PERMISSION_DENIED", message, details);
  }
}

/** A write found no room; nothing of the frame was written. */
export class BufferFullError extends ZeroBufferError {
  override readonly name = "BufferFullError";
  /** `timeout`: the write timeout passed. `signal`: a signal ended the wait early. */
  readonly reason: "timeout" | "signal";
  constructor(reason: "timeout" | "signal", message: string, details?: ErrorDetails) {
    super("BUFFER_FULL", message, details);
    this.reason = reason;
  }
}

/** The reader is gone. */
export class ReaderDeadError extends ZeroBufferError {
  override readonly name = "ReaderDeadError";
  /** `left`: it closed the buffer. `died`: its process ended without doing so. */
  readonly reason: "left" | "died";
  constructor(reason: "left" | "died", message: string, details?: ErrorDetails) {
    super("READER_DEAD", message, details);
    this.reason = reason;
  }
}

/** The writer is gone, and every frame it wrote has been delivered. */
export class WriterDeadError extends ZeroBufferError {
  override readonly name = "WriterDeadError";
  /** `left`: it disconnected. `died`: its process ended without doing so. */
  readonly reason: "left" | "died";
  constructor(reason: "left" | "died", message: string, details?: ErrorDetails) {
    super("WRITER_DEAD", message, details);
    this.reason = reason;
  }
}

/** The frame can never fit: `16 + size > payloadSize`. */
export class FrameTooLargeError extends ZeroBufferError {
  override readonly name = "FrameTooLargeError";
  constructor(message: string, details?: ErrorDetails) {
    super("FRAME_TOO_LARGE", message, details);
  }
}

/** A frame of no bytes, or of a size that is not a whole number. */
export class InvalidFrameSizeError extends ZeroBufferError {
  override readonly name = "InvalidFrameSizeError";
  constructor(message: string, details?: ErrorDetails) {
    super("INVALID_FRAME_SIZE", message, details);
  }
}

/** A frame carried another sequence number than the one that had to follow. */
export class SequenceError extends ZeroBufferError {
  override readonly name = "SequenceError";
  constructor(message: string, details?: ErrorDetails) {
    super("SEQUENCE_ERROR", message, details);
  }
}

/** The shared memory holds what no correct peer writes; it cannot be used any further. */
export class CorruptBufferError extends ZeroBufferError {
  override readonly name = "CorruptBufferError";
  constructor(message: string, details?: ErrorDetails) {
    super("CORRUPT_BUFFER", message, details);
  }
}

/** This writer has sent its metadata already; it can be sent once. */
export class MetadataAlreadyWrittenError extends ZeroBufferError {
  override readonly name = "MetadataAlreadyWrittenError";
  constructor(message: string, details?: ErrorDetails) {
    super("METADATA_ALREADY_WRITTEN", message, details);
  }
}

/** The metadata does not fit: `8 + length > metadataSize`, or it is empty. */
export class MetadataTooLargeError extends ZeroBufferError {
  override readonly name = "MetadataTooLargeError";
  constructor(message: string, details?: ErrorDetails) {
    super("METADATA_TOO_LARGE", message, details);
  }
}

/** The buffer's name is not one that every peer can use (docs/protocol.md, section 1). */
export class InvalidNameError extends ZeroBufferError {
  override readonly name = "InvalidNameError";
  constructor(message: string, details?: ErrorDetails) {
    super("INVALID_NAME", message, details);
  }
}

/** The object was closed, or the frame released, before this use of it: a mistake of the calling program. */
export class ClosedError extends ZeroBufferError {
  override readonly name = "ClosedError";
  constructor(message: string, details?: ErrorDetails) {
    super("CLOSED", message, details);
  }
}
