// Shared payloads: what is passed on and kept, and in which order (docs/protocol.md, section 10), and the tests that notice.

import type { Protection } from "./protection.ts";

const TARGET = "src/core/sharing/target.ts";
const SOURCE = "src/core/sharing/source.ts";
const ATTACHMENTS = "src/core/sharing/attachments.ts";
const SHARING = "src/native/c/sharing.c";
const DESCRIPTORS = "src/native/c/descriptors.c";
const NATIVE_READER = "src/native/c/reader.c";
const C_TESTS = "tests/native/c.test.ts";
const ASKING = "tests/unit/core/sharing/asking.test.ts";
const ATTACHING = "tests/unit/core/sharing/attaching.test.ts";
const FORWARDING = "tests/unit/core/sharing/forwarding.test.ts";
const PROCESSES = "tests/process/sharing.test.ts";
const FAULTS = "tests/faults/sharing.test.ts";

/** What a forwarder believes and remembers (section 10.3). */
const passing: readonly Protection[] = [
  {
    what: "an impossible count of released descriptors drops nothing",
    file: SHARING,
    changes: [["  if (!possible) target->view.failed = ZB_BAD_CONTROL;\n", "  (void)possible;\n"]],
    test: FORWARDING,
    only: "stay if the target counts",
  },
  {
    what: "the descriptors of later writers are no impossible count",
    file: SHARING,
    changes: [
      [
        "(has_left ? INT64_MAX : target->earlier + references(target))",
        "target->earlier + references(target)",
      ],
    ],
    test: C_TESTS,
    only: "whatever the next one sends",
  },
  {
    what: "a forwarder notes the count that it finds",
    file: "src/native/c/writer.c",
    changes: [["  writer->descriptors = LOAD(ring.oieb->released_descriptors, acquire);\n", ""]],
    test: FORWARDING,
    only: "pass to the source when the writer is closed",
  },
  {
    what: "only a frame that is held is passed on",
    file: SHARING,
    changes: [
      [
        "frame == NULL || frame->references == 0) return ZB_ALREADY;\n  if (size",
        "frame == NULL) return ZB_ALREADY;\n  if (size",
      ],
    ],
    test: C_TESTS,
    only: "a frame that nobody holds",
  },
  {
    what: "a writer that has lost its place shares nothing",
    file: SHARING,
    changes: [
      [
        "zb_target_answer(target) == 1 &&\n         LOAD(target->oieb->writer_pid, relaxed) == target->writer->own_pid;",
        "zb_target_answer(target) == 1;",
      ],
    ],
    test: ASKING,
    only: "another writer's pid",
  },
  {
    what: "a frame that came shared is passed on as a copy",
    file: "src/core/sharing/forwarding.ts",
    changes: [[" || target.source !== lender.source", ""]],
    test: FORWARDING,
    only: "that came shared itself",
  },
  {
    what: "a frame is kept for each descriptor",
    file: SHARING,
    changes: [
      ["  lent_at(target->source, index)->references++;\n", ""],
      ["    lent_at(source, index)->references--;\n", "    (void)index, (void)source;\n"],
    ],
    test: FORWARDING,
    only: "keeps its place in the source",
  },
  {
    what: "what was passed on does not change for others",
    file: "src/core/frame.ts",
    changes: [["(lender.isShared || this.#index >= PASSED_ON)", "lender.isShared"]],
    test: FORWARDING,
    only: "where the forwarder wants to",
  },
  {
    what: "what a target changes is a copy",
    file: "src/core/frame.ts",
    changes: [["(lender.isShared || this.#index >= PASSED_ON)", "this.#index >= PASSED_ON"]],
    test: PROCESSES,
    only: "that one of two targets changes",
  },
  {
    what: "a target holds no more frames than it may",
    file: "src/native/c/writer.c",
    changes: [["writer->target != NULL && zb_target_is_full(writer->target);", "false;"]],
    test: C_TESTS,
    only: "as many frames as it may",
  },
  {
    what: "references stay when a writer is closed",
    file: TARGET,
    changes: [
      [
        "    this.ring.leave();\n    const keepsMemory",
        "    this.ring.drop();\n    this.ring.leave();\n    const keepsMemory",
      ],
    ],
    test: PROCESSES,
    only: "keeps its frames as they are",
  },
  {
    what: "a closed writer takes no tokens of the next one",
    file: SHARING,
    changes: [["if (take && target->writer != NULL) empty", "if (take) empty"]],
    test: C_TESTS,
    only: "whatever the next one sends",
  },
  {
    what: "the references of a reader that has left are dropped",
    file: SHARING,
    changes: [
      [
        "  if (references(target) > 0 && is_reader_gone) drop(target, references(target));\n",
        "  (void)is_reader_gone;\n",
      ],
    ],
    test: C_TESTS,
    only: "when the reader of the target has left",
  },
  {
    what: "the references of a reader that was killed are dropped",
    file: TARGET,
    changes: [["readerPid !== 0n && memory.isRoleLocked(Role.READER) !== false", "readerPid !== 0n"]],
    test: PROCESSES,
    only: "gives up all that it holds",
  },
  {
    what: "tokens are taken before the releases are collected",
    file: SHARING,
    changes: [
      [
        "    if (take && target->writer != NULL) empty_semaphore(target->released);\n    zb_target_collect(target);\n",
        "    zb_target_collect(target);\n    if (take && target->writer != NULL) empty_semaphore(target->released);\n",
      ],
    ],
    test: FAULTS,
    only: "in the middle of a collection",
  },
  {
    what: "a wait of the source ends when a target releases",
    file: SHARING,
    changes: [["        semaphores[count++] = target->released;\n", "        continue;\n"]],
    test: C_TESTS,
    only: "is woken by what its target releases",
  },
  {
    what: "without a wait for several semaphores it looks again and again",
    file: SHARING,
    changes: [["    if (count > 1 && slice_ns < until_ns) until_ns = slice_ns;\n", "    (void)slice_ns;\n"]],
    test: C_TESTS,
    only: "where no call waits for several semaphores",
  },
  {
    what: "a forwarder collects although its program calls nothing",
    file: SOURCE,
    changes: [["    if (this.#sleepers > 0) this.#listenTo(target);\n    this.#watch();\n", ""]],
    test: ASKING,
    only: "although the program calls nothing",
  },
  {
    what: "a forwarder that starts again waits for the room of its old source",
    file: "src/core/buffer/create.ts",
    changes: [["const MEMORY_LINGERS_MS = 2000;", "const MEMORY_LINGERS_MS = 0;"]],
    test: PROCESSES,
    only: "let go of its old source",
  },
];

/** In which order a target's reader does what (section 10.4). */
const order: readonly Protection[] = [
  {
    what: "a source is mapped before the answer",
    file: ATTACHMENTS,
    changes: [
      ["const mapped = fault === undefined ? memory.map() : Code.OK;", "const mapped = Code.OK as Code;"],
      [
        "    const code = this.#ring.answer(source);\n",
        "    const code = this.#ring.answer(source);\n    source?.memory.map();\n",
      ],
    ],
    test: ATTACHING,
    only: "is mapped before the answer",
  },
  {
    what: "an attachment is answered before it is credited",
    file: DESCRIPTORS,
    changes: [
      ["  ZB_POINT(attachment_answer);\n", "  ZB_POINT(attachment_answer);\n  credit_attachment(reader);\n"],
      ["  ZB_POINT(attachment_credit);\n  credit_attachment(reader);\n", ""],
      [
        "  STORE(reader->ring.oieb->answer, takes_back",
        "  ZB_POINT(attachment_credit);\n  STORE(reader->ring.oieb->answer, takes_back",
      ],
    ],
    test: FAULTS,
    only: "returns the space of an attachment",
  },
  {
    what: "descriptors are counted before they are credited",
    file: NATIVE_READER,
    changes: [
      ["    STORE(reader->ring.oieb->released_descriptors, reader->released_descriptors, release);\n", ""],
      [
        "  return_space(reader, credit, end, credited);\n",
        "  return_space(reader, credit, end, credited);\n  STORE(reader->ring.oieb->released_descriptors, reader->released_descriptors, release);\n",
      ],
    ],
    test: FAULTS,
    only: "a reader to which frames are passed on",
  },
  {
    what: "descriptors are counted in the order of reading",
    file: NATIVE_READER,
    changes: [
      [
        "    frame->references -= PROGRAM;\n",
        "    frame->references -= PROGRAM;\n    reader->released_descriptors += frame->extras % POST;\n    frame->extras -= frame->extras % POST;\n    STORE(reader->ring.oieb->released_descriptors, reader->released_descriptors, release);\n",
      ],
    ],
    test: FORWARDING,
    only: "of younger frames stay",
  },
  {
    what: "only descriptors are counted",
    file: NATIVE_READER,
    changes: [["released_descriptors += extras % POST;", "released_descriptors += credited;"]],
    test: FORWARDING,
    only: "count descriptors only",
  },
  {
    what: "an attachment is taken without a token",
    file: DESCRIPTORS,
    changes: [
      ["  if (is_attachment(found) || follows", "  if ((is_attachment(found) && !without_token) || follows"],
    ],
    test: FORWARDING,
    only: "whose tokens were lost",
  },
  {
    what: "the tokens of what lies behind an attachment stay",
    file: DESCRIPTORS,
    changes: [["  if (!without_token && stopped) reader->kept_tokens = tokens - used;\n", ""]],
    test: C_TESTS,
    only: "an attachment is credited with the frames before it",
  },
  {
    what: "a source is unmapped before its target's reader gives its place up",
    file: "src/core/reader.ts",
    changes: [
      ["      () => areUnmapped && memory.claim(Role.READER, process.pid, 0),\n", ""],
      [
        "      () => this.#waiter?.close(),\n      () => {\n",
        "      () => this.#waiter?.close(),\n      () => memory.claim(Role.READER, process.pid, 0),\n      () => {\n",
      ],
    ],
    test: ATTACHING,
    only: "is unmapped before its target",
  },
  {
    what: "a reader whose view of a source is in use keeps its place",
    file: "src/core/reader.ts",
    changes: [["() => areUnmapped && memory.claim(", "() => memory.claim("]],
    test: PROCESSES,
    only: "being written to a pipe",
  },
  {
    what: "it keeps the lock of its role, too",
    file: "src/core/reader.ts",
    changes: [
      ["(areUnmapped ? this.#buffer.close() : this.#buffer.closeExceptRole())", "this.#buffer.close()"],
    ],
    test: PROCESSES,
    only: "being written to a pipe",
  },
  {
    what: "a source is not unmapped while a frame of it is lent",
    file: ATTACHMENTS,
    changes: [["if (!this.#isReplaced || this.lent > 0) return;", "if (!this.#isReplaced) return;"]],
    test: ATTACHING,
    only: "with the last frame of it",
  },
  {
    what: "a source goes with the writer that has attached it",
    file: "src/core/lookahead.ts",
    changes: [["      this.#attachments?.detach();\n", ""]],
    test: ATTACHING,
    only: "removed and made anew",
  },
  {
    what: "a source that was truncated is reported",
    file: NATIVE_READER,
    changes: [
      [
        "  if (source != NULL && zb_memory_broken(source)) return",
        "  if (source != NULL && source == NULL) return",
      ],
    ],
    test: ATTACHING,
    only: "is named by the next call",
  },
  {
    what: "one that was replaced is, too",
    file: "src/core/lookahead.ts",
    changes: [["    this.#attachments?.checkReplaced();\n", ""]],
    test: ATTACHING,
    only: "although it was replaced",
  },
];

export const forwarding: readonly Protection[] = [...passing, ...order];
