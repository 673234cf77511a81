// How a protection is described.

/** A protection, and how it goes: `find` stands exactly once in the file. */
export interface Protection {
  readonly what: string;
  readonly file: string;
  readonly changes: readonly (readonly [find: string, replace: string])[];
  /** The test file that has to fail without it, and which of its tests. */
  readonly test: string;
  readonly only: string;
  readonly env?: Readonly<Record<string, string>>;
}
