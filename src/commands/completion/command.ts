// zerobuffer completion: prints the script that lets a shell complete the arguments of zerobuffer.
//
// The scripts contain no commands or options: at each TAB they run `zerobuffer complete`.

import { defineCommand } from "../../cli/command.ts";
import { CommandError } from "../../cli/failure.ts";
import { chosenWord, outputOptions } from "../../cli/options.ts";
import type { CompletionDocument } from "../../schemas/completion.ts";
import { SHELLS, type Shell } from "../../schemas/words.ts";
import bash from "./scripts/zerobuffer.bash" with { type: "text" };
import fish from "./scripts/zerobuffer.fish" with { type: "text" };
import powershell from "./scripts/zerobuffer.ps1" with { type: "text" };
import zsh from "./scripts/zerobuffer.zsh" with { type: "text" };

const scripts: Readonly<Record<Shell, string>> = { bash, zsh, fish, powershell };

export default defineCommand({
  meta: {
    name: "completion",
    description: "Prints the script that lets a shell complete commands, options and buffers.",
  },
  args: {
    shell: chosenWord(SHELLS, "print the script for", "$SHELL"),
    ...outputOptions,
  },
  examples: [
    { purpose: "enable completion in ~/.bashrc", line: "source <(zerobuffer completion bash)" },
    { purpose: "enable it in ~/.zshrc, after compinit", line: "source <(zerobuffer completion zsh)" },
    { purpose: "enable it in ~/.config/fish/config.fish", line: "zerobuffer completion fish | source" },
    {
      purpose: "enable it in the PowerShell profile",
      line: "zerobuffer completion powershell | Out-String | Invoke-Expression",
    },
  ],

  blank: (): CompletionDocument => ({ operation: "completion", shell: null, script: null, errors: [] }),

  async run({ shell }, _session, document) {
    document.shell = shell ?? yourShell();
    document.script = scripts[document.shell];
  },

  summarize: ({ script }) => (script === null ? [] : [script.trimEnd()]),
});

/** @throws CommandError USAGE */
function yourShell(): Shell {
  const { SHELL: path = "" } = process.env;
  const name = path.slice(path.lastIndexOf("/") + 1);
  const known = SHELLS.find((shell) => shell === name || (shell === "powershell" && name === "pwsh"));
  if (known !== undefined) return known;
  throw new CommandError(
    "USAGE",
    path === ""
      ? "No shell given, and SHELL is not set."
      : `SHELL is ${path}, which has no completion script.`,
    `Name one: zerobuffer completion ${SHELLS.join("|")}.`,
  );
}
