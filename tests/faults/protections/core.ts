// What buffers, readers, writers and duplex channels protect, and the tests that notice.

import type { Protection } from "./protection.ts";

const WATCH = "src/core/writer-watch.ts";
const KILLS = "tests/faults/kills.test.ts";
const READER_TEST = "tests/unit/core/reader.test.ts";
const ENVIRONMENT = "tests/faults/environment.test.ts";
const HOSTILE = "tests/unit/core/hostile.test.ts";

const WRITER = "tests/unit/core/writer.test.ts";

export const core: readonly Protection[] = [
  {
    what: "a buffer has to fit the memory of its cgroup",
    file: "src/core/buffer/create.ts",
    changes: [["  checkMemoryLimit(name, size + 2 * SEMAPHORE_SIZE);\n", ""]],
    test: "tests/process/memory-limit.test.ts",
    only: "a buffer is refused before it takes memory",
  },
  {
    what: "what a killed creation left is removed",
    file: "src/core/buffer/stale.ts",
    changes: [
      ["const isBuffer = beginsAsOieb(oieb) || isUnfinished;", "const isBuffer = beginsAsOieb(oieb);"],
    ],
    test: "tests/unit/core/buffer/lifecycle.test.ts",
    only: "a creation that was cut short",
  },
  {
    what: "semaphores are leftovers only beside new memory",
    file: "src/core/buffer/create.ts",
    changes: [
      [
        "  const memory = SharedMemory.create(name, size, mode);\n",
        "  Semaphore.remove(name, Role.WRITER);\n  const memory = SharedMemory.create(name, size, mode);\n",
      ],
    ],
    test: "tests/unit/core/buffer/lifecycle.test.ts",
    only: "leaves semaphores of its name",
  },
  {
    what: "a reader that goes on from one writer to the next is no writer",
    file: "src/core/buffer/connect.ts",
    changes: [["  if (mappings === 1) return changingWriters(name);\n", ""]],
    test: "tests/process/connecting.test.ts",
    only: "waits for its place within its timeout",
  },
  {
    what: "what a program throws when it is told something ends no service",
    file: "src/core/duplex/server.ts",
    changes: [["    queueMicrotask(() => {\n      throw error;\n    });\n", "    throw error;\n"]],
    test: "tests/process/duplex.test.ts",
    only: "throws whenever it is told",
  },
  {
    what: "a lock directory is opened to everybody by its owner",
    file: "src/core/buffer/lock-directories.ts",
    changes: [["  if (distrust(path) === undefined) openToEverybody(path);\n", ""]],
    test: ENVIRONMENT,
    only: "opens lock directories of its own user",
  },
  {
    what: "a frame whose post is lost is looked for",
    file: "src/core/lookahead.ts",
    changes: [
      ["this.#ring.next(0, Look.WITHOUT_TOKEN | flags)", "this.#ring.next(0, Look.FOR_TOKENS & flags)"],
    ],
    test: KILLS,
    only: "fills the ring exactly",
  },
  {
    what: "a writer looks at its reader",
    file: "src/core/reader-watch.ts",
    changes: [
      [
        '    const isThere = readerPid !== 0n && this.#reader.judge(oieb) !== "dead";\n',
        "    const isThere = readerPid !== 0n;\n",
      ],
    ],
    test: KILLS,
    only: "holds frames and releases them out of order",
  },
  {
    what: "a reader looks at its writer",
    file: WATCH,
    changes: [
      ["      if (isThere) this.#noteWriter();\n", "      if (oieb.writerPid !== 0n) this.#noteWriter();\n"],
    ],
    test: KILLS,
    only: "fills a frame in place",
  },
  {
    what: "the waste of a half-done wrap is given back",
    file: WATCH,
    changes: [
      ["this.#inPlaceOf(writerPid, () => this.#ring.settle())", "this.#inPlaceOf(writerPid, () => {})"],
    ],
    test: KILLS,
    only: "settles the half-done wrap",
  },
  {
    what: "the waste of a half-done wrap is given back once no frame is held any more",
    file: "src/core/frame.ts",
    changes: [
      [
        "if (lender.ring.release(this.#index, 1)) lender.watch.settle();",
        "lender.ring.release(this.#index, 1);",
      ],
    ],
    test: READER_TEST,
    only: "keeps no next writer away",
  },
  {
    what: "the metadata of a writer that has come since is not cleared",
    file: WATCH,
    changes: [["      if (this.#hasTraces(this.#buffer.loadOieb())) return;\n", ""]],
    test: READER_TEST,
    only: "stays until all its frames are read",
  },
  {
    what: "a reader sees that its buffer was removed",
    file: "src/core/lookahead.ts",
    changes: [["if (this.#buffer.memory.isNamed) return;", 'if (this.#lender.name !== "") return;']],
    test: HOSTILE,
    only: "unlinked",
  },
  {
    what: "a control block is checked before a writer joins",
    file: "src/core/buffer/connect.ts",
    changes: [
      [
        "  const fault = faultOfOieb(oieb, memory.size);\n  if (fault !== undefined)\n",
        "  const fault = faultOfOieb(oieb, memory.size);\n  if (fault === null)\n",
      ],
    ],
    test: "tests/unit/core/writer.test.ts",
    only: "refuses a buffer that claims",
  },
  {
    what: "metadata that has no room any more is corruption",
    file: "src/core/writer-metadata.ts",
    changes: [["written === Code.TOO_LARGE ? Code.BAD_CONTROL : written", "written"]],
    test: HOSTILE,
    only: "metadataSize",
  },
  {
    what: "names are checked",
    file: "src/core/buffer/names.ts",
    changes: [["if (foreign !== null)", "if (foreign?.length === 0)"]],
    test: "tests/unit/core/buffer/names.test.ts",
    only: "is refused",
  },
  {
    what: "a lock directory has to be a directory",
    file: "src/core/buffer/lock-directories.ts",
    changes: [["if (!status.isDirectory())", "if (status.isFIFO())"]],
    test: ENVIRONMENT,
    only: "symbolic link",
  },
  {
    what: "a lock directory of somebody else has to be sticky",
    file: "src/core/buffer/lock-directories.ts",
    changes: [["(status.mode & STICKY) === 0", "status.mode === 0"]],
    test: ENVIRONMENT,
    only: "belongs to another user, who could",
  },
  {
    what: "the buffer of another user is never stale",
    file: "src/core/buffer/stale.ts",
    changes: [['  if (!memory.isOwned) return foreign("it belongs to another user");\n', ""]],
    test: ENVIRONMENT,
    only: "whatever locks are planted",
  },
  {
    what: "semaphores are removed with their buffer",
    file: "src/core/buffer/shared-buffer.ts",
    changes: [["      () => this.written.unlink(),\n", ""]],
    test: "tests/unit/core/buffer/lifecycle.test.ts",
    only: "a thousand buffers",
  },
  {
    what: "a death is noticed within a second",
    file: WATCH,
    changes: [["const SLICE_MS = 100;", "const SLICE_MS = 3000;"]],
    test: "tests/faults/random-kills.slow.test.ts",
    only: "whoever is killed",
    env: { ZB_ROUNDS: "20", ZB_SEED: "1" },
  },
  {
    what: "a server answers a client in that client's own buffer",
    file: "src/core/duplex/service.ts",
    changes: [["if (request.sequence === 1) {", "if (isFirst && request.sequence === 1) {"]],
    test: "tests/unit/core/duplex/server.test.ts",
    only: "tells clients apart that follow each other",
  },
  {
    what: "the token of a close is expected",
    file: WATCH,
    changes: [["this.#ring.surplusSeen + (isOwed ? 1 : 0);", "this.#ring.surplusSeen + (isOwed ? 0 : 0);"]],
    test: READER_TEST,
    only: "is reported once",
  },
  {
    what: "a writer that is refused for what it will write has not been seen",
    file: "src/core/buffer/connect.ts",
    changes: [["  checkSizes(name, oieb, wishes);\n", ""]],
    test: WRITER,
    only: "is refused before the reader sees it",
  },
  {
    what: "a writer that aborts does not leave",
    file: "src/core/connected-writer.ts",
    changes: [["    this.#end(() => {});\n", "    this.close();\n"]],
    test: WRITER,
    only: "abort tells the reader that not all has come",
  },
];
