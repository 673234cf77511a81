// What the command line protects, and the tests that notice.

import type { Protection } from "./protection.ts";

const ENVIRONMENT = "tests/faults/environment.test.ts";
const CLOSED = "tests/cli/descriptors.test.ts";
const FRAMING = "tests/unit/frames/framing.test.ts";

const FOLLOWING = "tests/cli/following.test.ts";

export const commands: readonly Protection[] = [
  {
    what: "a signal ends a command with what it has to give back",
    file: "src/cli/session.ts",
    changes: [
      ["        this.stop(new Interrupted(signal, exitCode));\n", "        process.exit(exitCode);\n"],
    ],
    test: "tests/cli/signals.test.ts",
    only: "a reader that waits for a writer",
  },
  {
    what: "the executable ignores the working directory's configuration",
    file: "scripts/executable.ts",
    changes: [["autoloadDotenv: false, autoloadBunfig: false", "autoloadDotenv: true, autoloadBunfig: true"]],
    test: ENVIRONMENT,
    only: "executes and reads nothing",
  },
  {
    what: "the event loop turns while a large frame is transformed",
    file: "src/frames/transforms.ts",
    changes: [["PIECE_SIZE));\n    await turn();\n", "PIECE_SIZE));\n"]],
    test: "tests/unit/frames/transforms.test.ts",
    only: "of a large frame",
  },
  {
    what: "a pipe that nobody reads ends a reader quietly",
    file: "src/cli/streams.ts",
    changes: [['if (systemCode(error) === "EPIPE") throw', 'if (systemCode(error) === "") throw']],
    test: CLOSED,
    only: "whose reader goes away",
  },
  {
    what: "a message that cannot be printed changes no exit code",
    file: "src/cli/report.ts",
    changes: [[").catch(() => {});", ");"]],
    test: CLOSED,
    only: "does not get into the way of the exit code",
  },
  {
    what: "a result that cannot be printed is a failure",
    file: "src/cli/report.ts",
    changes: [
      [
        '      if (isData && systemCode(error) !== "EPIPE" && failure === undefined) throw resultLost(error);\n',
        "",
      ],
    ],
    test: CLOSED,
    only: "costs a transfer no frame",
  },
  {
    what: "an output gets all of the frames before the end",
    file: "src/commands/reader/loop.ts",
    changes: [
      ["    this.#release();\n    await this.#flush();\n", "    this.#release();\n"],
      ["    await this.#flush().catch(ignoreDownstreamClosed);\n", ""],
    ],
    test: CLOSED,
    only: "that is slow gets everything",
  },
  {
    what: "a record that is cut short is no frame",
    file: "src/frames/framing.ts",
    changes: [["    if (this.#ended) throw this.#recordCutShort(size);\n", ""]],
    test: FRAMING,
    only: "cut short by the stream's end",
  },
  {
    what: "a length that is cut short is told",
    file: "src/frames/framing.ts",
    changes: [["      if (this.#ended && this.#prefixSize > 0) throw this.#prefixCutShort();\n", ""]],
    test: FRAMING,
    only: "cut short within the prefix",
  },
  {
    what: "a record of 2 GiB is refused before it is collected",
    file: "src/frames/framing.ts",
    changes: [["if (size === 0 || size > this.#maxFrameSize) throw", "if (size === 0) throw"]],
    test: FRAMING,
    only: "that are too large are refused as soon as",
  },
  {
    what: "a client reports the failure of its last request",
    file: "src/commands/duplex/request-loop.ts",
    changes: [["      .catch((error) => this.#failed.abort(error))\n", "      .catch(() => {})\n"]],
    test: "tests/cli/duplex-request.test.ts",
    only: "the response to its last request",
  },
  {
    what: "a command that fails tells the reader of its buffer",
    file: "src/cli/output-buffer.ts",
    changes: [
      [
        "    if (!(error instanceof Interrupted || error instanceof DownstreamClosed)) this.#writer.abort();\n",
        "",
      ],
    ],
    test: FOLLOWING,
    only: "a command that fails tells the reader",
  },
  {
    what: "what is left of frames goes to the next reader",
    file: "src/cli/output-buffer.ts",
    changes: [["        rest = rest.subarray(writer.bytesWritten - before);\n", "        return;\n"]],
    test: FOLLOWING,
    only: "goes on with the rest of frames",
  },
  {
    what: "a writer that drops frames ends when no reader can be connected to",
    file: "src/cli/output-buffer.ts",
    changes: [["        this.#checkConnecting();\n", ""]],
    test: FOLLOWING,
    only: "no longer than --connect-timeout-ms",
  },
];
