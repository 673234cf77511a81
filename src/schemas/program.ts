// The JSON document of the program without a command.

import { Type } from "typebox";
import { ending, orNull } from "./common.ts";

/** The document of the help, of the version, of the licences, and of an unknown command. */
export const ProgramDocument = Type.Object(
  {
    operation: orNull(Type.Enum(["help", "version", "licenses"])),
    help: Type.Optional(Type.String({ description: "The text (--help)." })),
    licenses: Type.Optional(
      Type.String({ description: "The licence, and those of everything inside (--licenses)." }),
    ),
    version: Type.Optional(Type.String({ description: "The version (--version)." })),
    commit: Type.Optional(
      Type.String({
        pattern: "^([0-9a-f]{40}(-dirty)?|unknown)$",
        description: "The commit of the build; -dirty if files were changed (--version).",
      }),
    ),
    protocol: Type.Optional(Type.String({ description: "The version of the protocol (--version)." })),
    target: Type.Optional(
      Type.String({
        description: "Operating system, processor and C library, such as linux-x64-musl (--version).",
      }),
    ),
    bun: Type.Optional(Type.String({ description: "The version of Bun (--version)." })),
    ...ending,
  },
  { additionalProperties: false },
);
