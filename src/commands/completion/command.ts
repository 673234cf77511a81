// zerobuffer completion: prints the script that lets a shell complete the arguments of zerobuffer.
//
// The scripts contain no commands or options: at each TAB they run `zerobuffer complete`.

import { defineCommand } from "../../cli/command.ts";
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
  args: { shell: chosenWord(SHELLS, "shell to print the script for"), ...outputOptions },
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
    document.shell = shell ?? null;
    document.script = shell === undefined ? null : scripts[shell];
  },

  summarize: ({ script }) => (script === null ? [] : [script.trimEnd()]),
});
