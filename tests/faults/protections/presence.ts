// What decides who holds a role and what may be removed, and the tests that notice.

import type { Protection } from "./protection.ts";

const PRESENCE = "src/core/buffer/presence.ts";
const PRESENCE_TEST = "tests/unit/core/buffer/presence.test.ts";
const WATCH = "src/core/writer-watch.ts";
const WATCH_TEST = "tests/unit/core/writer-watch.test.ts";
const STALE = "src/core/buffer/stale.ts";
const CLEAN_TEST = "tests/cli/clean.test.ts";
const CREATE = "src/core/buffer/create.ts";
const STARTING = "tests/process/starting.test.ts";

export const presence: readonly Protection[] = [
  {
    what: "bytes that are locked show a living process",
    file: PRESENCE,
    changes: [["    if (isLocked) return this.#noteLocked(pid, holders);\n", ""]],
    test: PRESENCE_TEST,
    only: "show a living process",
  },
  {
    what: "a peer that locks its role is dead without the lock",
    file: PRESENCE,
    changes: [['    if (locks) return "dead";\n', ""]],
    test: PRESENCE_TEST,
    only: "that are not any more",
  },
  {
    what: "a process without the memory is somebody else",
    file: PRESENCE,
    changes: [
      [
        "(this.#memory.mappingsOf(Number(pid)) ?? 0) >= least",
        "(this.#memory.mappingsOf(Number(pid)) ?? 0) >= 0",
      ],
    ],
    test: PRESENCE_TEST,
    only: "of a visible process without the buffer",
  },
  {
    what: "a pid that both sides have is not taken for both",
    file: PRESENCE,
    changes: [["holders.writerPid === holders.readerPid ? 2 : 1", "1"]],
    test: PRESENCE_TEST,
    only: "that both sides have",
  },
  {
    what: "a process that was seen is dead when it is gone",
    file: PRESENCE,
    changes: [['    return wasSeen ? "dead" : undefined;\n', "    return undefined;\n"]],
    test: PRESENCE_TEST,
    only: "alive until that process ends",
  },
  {
    what: "a peer is dead if nobody else has the memory open",
    file: PRESENCE,
    changes: [['    if (isAlone === true) return "dead";\n', ""]],
    test: PRESENCE_TEST,
    only: "the kernel says whether its own has it open",
  },
  {
    what: "only who holds the other role takes whoever has the memory open for the peer",
    file: PRESENCE,
    changes: [["    if (isAlone === false && this.#isHolder)", "    if (isAlone === false)"]],
    test: PRESENCE_TEST,
    only: "the kernel says whether its own has it open",
  },
  {
    what: "a reader that has left its lock file is dead for its writer",
    file: PRESENCE,
    changes: [["this.#role === Role.READER && this.#hasLeftLock()", "false"]],
    test: PRESENCE_TEST,
    only: "that has left its lock file behind",
  },
  {
    what: "a writer whose pid somebody has overwritten lives as long as it has its lock",
    file: WATCH,
    changes: [["    } else if (!isThere) {\n", "    } else {\n"]],
    test: WATCH_TEST,
    only: "as long as it has the lock of its role",
  },
  {
    what: "a pid that a refused writer has overwritten is put back",
    file: WATCH,
    changes: [
      [
        "    if (this.#writer.isStillVisible()) this.#buffer.memory.restore(Role.WRITER, this.#writer.lastPid);\n",
        "",
      ],
    ],
    test: WATCH_TEST,
    only: "is put back for a writer",
  },
  {
    what: "nobody acts in the place of a writer whose lock somebody has",
    file: WATCH,
    changes: [
      [
        "    if (memory.lockRole(Role.WRITER) === Code.LOCKED) return this.#buffer.loadOieb().writerPid !== pid;\n",
        "",
      ],
    ],
    test: WATCH_TEST,
    only: "if the lock belongs to one that is about to come",
  },
  {
    what: "a writer locks its role before it takes the place",
    file: "src/core/buffer/connect.ts",
    changes: [["  const locked = memory.lockRole(Role.WRITER);\n", "  const locked = Code.OK as Code;\n"]],
    test: "tests/process/connecting.test.ts",
    only: "waits for its place within its timeout",
  },
  {
    what: "a reader locks its role before it takes a buffer over",
    file: CREATE,
    changes: [
      [
        "    if (memory.lockRole(Role.READER) === Code.LOCKED) {",
        "    if ((Code.OK as Code) === Code.LOCKED) {",
      ],
    ],
    test: STARTING,
    only: "a stranger has locked",
  },
  {
    what: "a lock that is held is waited for",
    file: CREATE,
    changes: [["const LOCK_PATIENCE_MS = 2000;", "const LOCK_PATIENCE_MS = 50;"]],
    test: STARTING,
    only: "waits for it without blocking the event loop",
  },
  {
    what: "a reader is not waited for that lives",
    file: CREATE,
    changes: [["lives ? PROBE_PATIENCE_MS : LOCK_PATIENCE_MS", "LOCK_PATIENCE_MS + (lives ? 50 : 0)"]],
    test: STARTING,
    only: "does not wait for a reader that lives",
  },
  {
    what: "the reader that takes over does not mind a writer that lives",
    file: CREATE,
    changes: [['    if (presence === "dead") return undefined;\n', ""]],
    test: STARTING,
    only: "whose writer lives and is idle",
  },
  {
    what: "nothing is removed whose role is locked",
    file: STALE,
    changes: [
      ["  if (memory.lockRole(Role.READER) === Code.LOCKED) return inUse(Role.READER, readerPid);\n", ""],
      ['    if (presence === "alive") return inUse(role, pid);\n', ""],
      ['&& reader !== "alive" && writer !== "alive"', ""],
    ],
    test: CLEAN_TEST,
    only: "what a lock shows to be alive",
  },
  {
    what: "nothing is removed that somebody may have open",
    file: STALE,
    changes: [["  if (isAlone === true) return", "  if (isAlone !== undefined) return"]],
    test: CLEAN_TEST,
    only: "keeps what a process that is not visible may use",
  },
  {
    what: "a departure is noticed whose token came with that of the last frame",
    file: "src/core/lookahead.ts",
    changes: [["Look.UNLESS_SURPLUS);", "Look.FOR_TOKENS);"]],
    test: "tests/unit/core/lookahead.test.ts",
    only: "without a wait",
  },
  {
    what: "a second client touches nothing of a channel that has one",
    file: "src/core/duplex/connecting.ts",
    changes: [["    if (pid === undefined) return;\n", "    if (pid !== 0n) return;\n"]],
    test: "tests/unit/core/duplex/client.test.ts",
    only: "leaves no trace in the request buffer",
  },
  {
    what: "a server connects to its client before any request",
    file: "src/core/duplex/service.ts",
    changes: [["      if (!this.#isAttached()) await this.#tryToAttach();\n", ""]],
    test: "tests/unit/core/duplex/server.test.ts",
    only: "before any request",
  },
  {
    what: "a server takes away what a killed client has left",
    file: "src/core/duplex/service.ts",
    changes: [['      if (error.reason === "died") removeStaleBuffer(this.#buffers.responses);\n', ""]],
    test: "tests/process/duplex.test.ts",
    only: "takes away what a client has left",
  },
];
