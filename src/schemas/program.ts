// The JSON document of the program itself.

import { Type } from "typebox";
import { ending, orNull } from "./common.ts";

/** The document of the program itself: of `--help`, `--version`, and of a command that does not exist. */
export const ProgramDocument = Type.Object(
  {
    operation: orNull(Type.Enum(["help", "version"])),
    help: Type.Optional(Type.String({ description: "The page (--help)." })),
    version: Type.Optional(Type.String({ description: "The version (--version)." })),
    commit: Type.Optional(
      Type.String({
        pattern: "^([0-9a-f]{40}(-dirty)?|unknown)$",
        description: "The commit it was built from; -dirty: with changes (--version).",
      }),
    ),
    protocol: Type.Optional(Type.String({ description: "The version of the protocol (--version)." })),
    target: Type.Optional(
      Type.String({ description: "System, processor and C library: linux-x64-musl (--version)." }),
    ),
    bun: Type.Optional(Type.String({ description: "The version of Bun inside (--version)." })),
    ...ending,
  },
  { additionalProperties: false },
);
