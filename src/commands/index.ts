// The commands, each loaded only when it is wanted.

import type { AnyCommand } from "./command.ts";

/** What bench starts this program with as one of its processes. It is nobody's command, and has no help. */
export const BENCH_WORKER = "@bench-worker";

/** Loads a command. */
export type Load = () => Promise<AnyCommand>;

/** The commands by name, of one or two words. Without a prototype, so that `zerobuffer toString` is no command. */
export const commands: Readonly<Record<string, Load>> = Object.assign(Object.create(null), {
  writer: async () => (await import("./writer.ts")).default,
  reader: async () => (await import("./reader.ts")).default,
  relay: async () => (await import("./relay.ts")).default,
  "duplex serve": async () => (await import("./duplex/serve.ts")).default,
  "duplex request": async () => (await import("./duplex/request.ts")).default,
  bench: async () => (await import("./bench.ts")).default,
  list: async () => (await import("./list.ts")).default,
  inspect: async () => (await import("./inspect.ts")).default,
  clean: async () => (await import("./clean.ts")).default,
  doctor: async () => (await import("./doctor.ts")).default,
  completion: async () => (await import("./completion.ts")).default,
  complete: async () => (await import("./complete.ts")).default,
} satisfies Record<string, Load>);
