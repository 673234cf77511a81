// The commands, each loaded only when it is wanted.

import type { Commands } from "../cli/command.ts";

/** The commands by name, of one or two words. Without a prototype, so that `zerobuffer toString` is no command. */
export const commands: Commands = Object.assign(Object.create(null), {
  writer: async () => (await import("./writer/command.ts")).default,
  reader: async () => (await import("./reader/command.ts")).default,
  relay: async () => (await import("./relay/command.ts")).default,
  "duplex serve": async () => (await import("./duplex/serve.ts")).default,
  "duplex request": async () => (await import("./duplex/request.ts")).default,
  record: async () => (await import("./recording/record.ts")).default,
  replay: async () => (await import("./recording/replay.ts")).default,
  "bridge publish": async () => (await import("./bridge/publish.ts")).default,
  "bridge subscribe": async () => (await import("./bridge/subscribe.ts")).default,
  bench: async () => (await import("./bench/command.ts")).default,
  top: async () => (await import("./top/command.ts")).default,
  view: async () => (await import("./view/command.ts")).default,
  metrics: async () => (await import("./metrics/command.ts")).default,
  list: async () => (await import("./list/command.ts")).default,
  inspect: async () => (await import("./inspect/command.ts")).default,
  clean: async () => (await import("./clean/command.ts")).default,
  doctor: async () => (await import("./doctor/command.ts")).default,
  completion: async () => (await import("./completion/command.ts")).default,
  complete: async () => (await import("./completion/answer.ts")).answering(commands),
} satisfies Commands);
