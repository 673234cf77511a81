// What keeps cancelled requests apart from others, and the tests that notice.

import type { Protection } from "./protection.ts";

const CANCELLING = "tests/unit/core/duplex/cancelling.test.ts";
const RECONNECTING = "tests/unit/core/duplex/reconnecting.test.ts";
const SERVICE = "src/core/duplex/service.ts";

export const cancellation: readonly Protection[] = [
  {
    what: "a request is looked up before its handler is called",
    file: SERVICE,
    changes: [["      if (this.#isWanted(conversation, inHand)) {\n", "      {\n"]],
    test: CANCELLING,
    only: "never reaches the handler",
  },
  {
    what: "a request is looked up before its response is written",
    file: SERVICE,
    changes: [["    if (!this.#isWanted(conversation, inHand)) return true;\n", ""]],
    test: CANCELLING,
    only: "whose handler takes no notice",
  },
  {
    what: "the server waits for cancellations while a handler with a signal runs",
    file: SERVICE,
    changes: [["queueMicrotask(() => void this.#watchSignals())", ""]],
    test: CANCELLING,
    only: "aborts the signal",
  },
  {
    what: "a handler that throws after a cancellation has not failed",
    file: SERVICE,
    changes: [
      [
        "if (this.#isStopped || !this.#isWanted(conversation, inHand) || inHand.isAborted) return;",
        "if (this.#isStopped || conversation !== this.#conversation) return;",
      ],
    ],
    test: CANCELLING,
    only: "aborts the signal",
  },
  {
    what: "handlers are told that their client has gone",
    file: SERVICE,
    changes: [
      ["    if (error instanceof WriterDeadError) this.#abortAll(CLIENT_GONE);\n", ""],
      ["        this.#isAttached();\n        checkedAt", "        checkedAt"],
    ],
    test: CANCELLING,
    only: "when the client leaves",
  },
  {
    what: "a signal that is read late knows what has happened before",
    file: "src/core/duplex/running.ts",
    changes: [
      ["    else if (!this.isCancelled()) this.#signals.add(this);", "    else this.#signals.add(this);"],
    ],
    test: CANCELLING,
    only: "read too late",
  },
  {
    what: "the table is used only where it lies in the memory",
    file: "src/core/buffer/cancellations.ts",
    changes: [
      [
        "const isInMemory = table % ALIGNMENT === 0 && table + CANCELLATION_TABLE_SIZE <= memory.size;",
        "const isInMemory = true;",
      ],
    ],
    test: CANCELLING,
    only: "without room for a table",
  },
  {
    what: "a table is made only for a server that looks at it",
    file: "src/core/duplex/connecting.ts",
    changes: [["(requests.loadOieb().flags & OiebFlag.CANCELLATION)", "OiebFlag.CANCELLATION"]],
    test: CANCELLING,
    only: "does not heed it",
  },
  {
    what: "what a server has answered is handed out before its client leaves it",
    file: "src/core/duplex/reconnecting-client.ts",
    changes: [
      ["client.settled().then(() => client.close())", "Promise.resolve().then(() => client.close())"],
    ],
    test: RECONNECTING,
    only: "finds that it has left",
  },
  {
    what: "a request that was not sent is one for the next server",
    file: "src/core/duplex/reconnecting-client.ts",
    changes: [["if (pending.sequence > 0) throw", "throw"]],
    test: RECONNECTING,
    only: "hands out what its server has answered",
  },
  {
    what: "nobody connects to the next server while no request waits for it",
    file: "src/core/duplex/reconnecting-client.ts",
    changes: [["      if (this.#waiting === 0) this.#stopConnecting();\n", ""]],
    test: RECONNECTING,
    only: "leaves the channel to others",
  },
  {
    what: "a program gets no request that was cancelled before its turn",
    file: "src/commands/duplex/exec-child.ts",
    changes: [
      ["        if (waits && context.signal.aborted) return this.#withdraw(exchange, context.signal);\n", ""],
    ],
    test: "tests/unit/commands/exec-handler.test.ts",
    only: "cancelled before its turn",
  },
];
