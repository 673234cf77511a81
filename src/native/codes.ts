// Generated from c/codes.def by `bun run build:native`.

/** What the helper's functions return where they return no count. */
export const Code = {
  OK: 0,
  AGAIN: -1,
  INTERRUPTED: -2,
  PEER_CHECK: -3,
  NOT_FOUND: -4,
  EXISTS: -5,
  LOCKED: -6,
  UNSAFE: -7,
  PERMISSION: -8,
  NO_SPACE: -9,
  NO_MEMORY: -10,
  NO_DESCRIPTORS: -11,
  SYSTEM: -12,
  BAD_CONTROL: -13,
  BAD_FRAME: -14,
  BAD_SEQUENCE: -15,
  BROKEN: -16,
  TOO_LARGE: -17,
  ALREADY: -18,
  UNSUPPORTED: -19,
  BAD_DESCRIPTOR: -20,
} as const;

export type Code = (typeof Code)[keyof typeof Code];

/** What each code means, in a few words. */
export const codeDescriptions: Readonly<Record<Code, string>> = {
  [Code.OK]: "done",
  [Code.AGAIN]: "nothing there yet, or no room yet",
  [Code.INTERRUPTED]: "a signal ended the wait",
  [Code.PEER_CHECK]: "the peer changed or has been silent for a while: look whether it lives",
  [Code.NOT_FOUND]: "no object of that name",
  [Code.EXISTS]: "an object of that name exists already",
  [Code.LOCKED]: "somebody else holds the lock",
  [Code.UNSAFE]: "not a plain file of the expected kind: refused",
  [Code.PERMISSION]: "the operating system refuses access",
  [Code.NO_SPACE]: "not enough shared memory",
  [Code.NO_MEMORY]: "not enough memory or address space",
  [Code.NO_DESCRIPTORS]: "too many open files",
  [Code.SYSTEM]: "the operating system failed in another way; zb_system_error() tells its number",
  [Code.BAD_CONTROL]: "a control field holds an impossible value",
  [Code.BAD_FRAME]: "a frame header holds an impossible size",
  [Code.BAD_SEQUENCE]: "a frame carries another sequence number than the expected one",
  [Code.BROKEN]: "the shared memory was truncated under its mapping",
  [Code.TOO_LARGE]: "larger than the space it was meant for",
  [Code.ALREADY]: "done before, and possible only once",
  [Code.UNSUPPORTED]: "this system does not tell",
  [Code.BAD_DESCRIPTOR]: "a descriptor or an attachment holds an impossible value",
};
