// What shared payloads rest on (docs/protocol.md, section 10), and the tests that notice.

import type { Protection } from "./protection.ts";

const TARGET = "src/core/sharing/target.ts";
const SOURCE = "src/core/sharing/source.ts";
const ATTACHMENTS = "src/core/sharing/attachments.ts";
const SHARING = "src/native/c/sharing.c";
const DESCRIPTORS = "src/native/c/descriptors.c";
const LINUX_SHARING = "src/native/c/linux_sharing.c";
const LINUX = "src/native/c/linux.c";
const NATIVE_READER = "src/native/c/reader.c";
const C_TESTS = "tests/native/c.test.ts";
const ASKING = "tests/unit/core/sharing/asking.test.ts";
const ATTACHING = "tests/unit/core/sharing/attaching.test.ts";
const FORWARDING = "tests/unit/core/sharing/forwarding.test.ts";
const PROCESSES = "tests/process/sharing.test.ts";
const FAULTS = "tests/faults/sharing.test.ts";

/** Who is asked to share (section 10.1). */
const consent: readonly Protection[] = [
  {
    what: "a reader that takes no descriptors is not asked to share",
    file: TARGET,
    changes: [[" || (this.#buffer.loadOieb().flags & OiebFlag.SHARING) === 0n", ""]],
    test: ASKING,
    only: "does not take descriptors",
  },
  {
    what: "a reader whose death is not certain to be seen is not asked to share",
    file: TARGET,
    changes: [["memory.isRoleLocked(Role.READER) !== true || !memory.isTrusted", "!memory.isTrusted"]],
    test: ASKING,
    only: "nobody has the lock",
  },
  {
    what: "memory that is not trusted is no target",
    file: TARGET,
    changes: [[" || !memory.isTrusted", ""]],
    test: ASKING,
    only: "everybody may write to the target",
  },
  {
    what: "memory of another user is not trusted",
    file: LINUX_SHARING,
    changes: [["status.st_uid == geteuid() && ", ""]],
    test: ASKING,
    only: "belongs to another user",
  },
  {
    what: "memory that everybody may write to is not trusted",
    file: LINUX_SHARING,
    changes: [[" && (status.st_mode & S_IWOTH) == 0", ""]],
    test: C_TESTS,
    only: "memory that others may write to",
  },
  {
    what: "frames of a reader that does not allow it are not shared",
    file: SOURCE,
    changes: [["    if (!this.#isAllowed) return false;\n", ""]],
    test: ASKING,
    only: "does not allow to share",
  },
  {
    what: "frames of a writer that only the kernel shows are not shared",
    file: SOURCE,
    changes: [["return !this.#writer.isOnlyInferred;", "return true;"]],
    test: ATTACHING,
    only: "does not ask to share",
  },
  {
    what: "an attachment is taken back for such a writer",
    file: SOURCE,
    changes: [["return !this.#writer.isOnlyInferred;", "return true;"]],
    test: PROCESSES,
    only: "in another container",
  },
  {
    what: "nothing is shared once an attachment is to be taken back",
    file: SHARING,
    changes: [
      ["  if (length == 0) target->id = 0;\n", ""],
      ["  if (length > 0) target->id = id;\n", "  target->id = length > 0 ? id : 0;\n"],
    ],
    test: ATTACHING,
    only: "no room to be told",
  },
  {
    what: "nothing is attached while the program fills a frame",
    file: SHARING,
    changes: [["  if (writer->acquired.size != 0) return ZB_AGAIN;\n", ""]],
    test: ASKING,
    only: "no sooner than the frame",
  },
];

/** What a target's reader refuses (sections 10.1 and 10.2). */
const refusal: readonly Protection[] = [
  {
    what: "a reader whose own memory is not trusted maps nothing",
    file: DESCRIPTORS,
    changes: [["  if (!zb_memory_trusted(reader->ring.memory)) return ZB_PERMISSION;\n", ""]],
    test: C_TESTS,
    only: "memory that others may write to",
  },
  {
    what: "a reader does not map a source that is not trusted",
    file: LINUX_SHARING,
    changes: [["  if (code == ZB_OK && !zb_memory_trusted(memory)) code = ZB_PERMISSION;\n", ""]],
    test: C_TESTS,
    only: "memory that others may write to",
  },
  {
    what: "a reader does not map its own memory as a source",
    file: DESCRIPTORS,
    changes: [
      [
        "  if (attachment->device == (uint64_t)own->device && attachment->inode == (uint64_t)own->inode)\n    return ZB_UNSAFE;\n",
        "  (void)own;\n",
      ],
    ],
    test: C_TESTS,
    only: "only the memory that an attachment means",
  },
  {
    what: "the name of a source is a name",
    file: ATTACHMENTS,
    changes: [["      checkName(name);\n", ""]],
    test: ATTACHING,
    only: "whose name begins with ../shm/",
  },
  {
    what: "the name of a source ends where it says",
    file: DESCRIPTORS,
    changes: [
      [
        "  for (uint64_t i = 0; i < length; i++) possible = possible && reader->view.source_name[i] != '\\0';\n",
        "",
      ],
    ],
    test: C_TESTS,
    only: "a name with a zero byte",
  },
  {
    what: "a source is on the device that was named",
    file: LINUX_SHARING,
    changes: [["(uint64_t)memory->object.device != device || ", "device == UINT64_MAX || "]],
    test: C_TESTS,
    only: "only the memory that an attachment means",
  },
  {
    what: "a source is the file that was named",
    file: LINUX_SHARING,
    changes: [[" || (uint64_t)memory->object.inode != inode", " || inode == UINT64_MAX"]],
    test: C_TESTS,
    only: "only the memory that an attachment means",
  },
  {
    what: "a link to a source is not followed",
    file: LINUX,
    changes: [["open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC)", "open(path, O_PATH | O_CLOEXEC)"]],
    test: C_TESTS,
    only: "a link to the memory that an attachment means",
  },
  {
    what: "a source is a plain file",
    file: LINUX,
    changes: [["  if (code == ZB_OK && !S_ISREG(status.st_mode)) code = ZB_UNSAFE;\n", ""]],
    test: C_TESTS,
    only: "a link to the memory that an attachment means",
  },
  {
    what: "the control block of a source is checked",
    file: ATTACHMENTS,
    changes: [
      [
        'oieb.oiebSize === 0 ? "it is not complete" : faultOfOieb(oieb, memory.size)',
        "undefined as string | undefined",
      ],
    ],
    test: ATTACHING,
    only: "a source that",
  },
  {
    what: "the payload of a source is inside its memory",
    file: DESCRIPTORS,
    changes: [
      ["memory != NULL && offset <= length && size <= length - offset;", "memory != NULL || length == 1;"],
    ],
    test: C_TESTS,
    only: "a payload that is not inside the memory",
  },
  {
    what: "a source is mapped to be read only",
    file: LINUX_SHARING,
    changes: [["zb_memory_look(name, 0, &memory)", "zb_memory_look(name, 1, &memory)"]],
    test: PROCESSES,
    only: "cannot be changed through its view",
  },
  {
    what: "who maps a source has its lock",
    file: LINUX_SHARING,
    changes: [["  if (code == ZB_OK) code = zb_shared_lock(memory);\n", ""]],
    test: C_TESTS,
    only: "memory is shown as shared",
  },
  {
    what: "only a reader that takes descriptors reads special frames",
    file: NATIVE_READER,
    changes: [[" && reader->takes_descriptors;", " && reader != NULL;"]],
    test: C_TESTS,
    only: "a reader that takes no descriptors",
  },
  ...[
    ["is of the source that is attached", " || descriptor.id != source->id", ""],
    ["has a byte", "descriptor.length < 1 ||", ""],
    ["fits its target as a copy", "descriptor.length > reader->ring.payload_size - HEADER || ", ""],
    [
      "ends inside the source",
      "descriptor.offset > source->payload_size - descriptor.length",
      "descriptor.offset > source->payload_size",
    ],
    [
      "does not begin so far behind that its end is no number",
      "descriptor.offset > source->payload_size - descriptor.length",
      "descriptor.offset + descriptor.length > source->payload_size",
    ],
    [
      "has its size and no other",
      ": size == sizeof(struct descriptor)",
      ": size >= sizeof(struct descriptor)",
    ],
  ].map(([what = "", find = "", replace = ""]) => ({
    what: `a descriptor ${what}`,
    file: DESCRIPTORS,
    changes: [[find, replace]] as const,
    test: C_TESTS,
    only: "a descriptor is refused for good",
  })),
  ...[
    ["is even and not 0", "id != 0 && id % 2 == 0", "true"],
    ["has a name that is not too long", "size - sizeof(struct attachment) <= ZB_NAME_MAX && ", ""],
    ["uses no number", " && sequence == 0\n", "\n"],
  ].map(([what = "", find = "", replace = ""]) => ({
    what: `an attachment ${what}`,
    file: DESCRIPTORS,
    changes: [[find, replace]] as const,
    test: C_TESTS,
    only: "a descriptor is refused for good",
  })),
  {
    what: "a descriptor is no longer than the source",
    file: DESCRIPTORS,
    changes: [[" || descriptor.length > source->payload_size ||", " ||"]],
    test: C_TESTS,
    only: "by the sizes that the source had",
  },
  {
    what: "the sizes of a source are those that were checked",
    file: DESCRIPTORS,
    changes: [
      [
        "  if (source->memory == NULL ||",
        "  source->payload_size = ((struct zb_oieb *)zb_memory_address(source->memory))->payload_size;\n  if (source->memory == NULL ||",
      ],
    ],
    test: C_TESTS,
    only: "by the sizes that the source had",
  },
  {
    what: "a special frame ends inside the ring",
    file: DESCRIPTORS,
    changes: [["fits(reader, found->position, size) &&", "size >= 1 &&"]],
    test: C_TESTS,
    only: "ends beyond the ring",
  },
];

/** What a forwarder believes and remembers (section 10.3). */
const forwarding: readonly Protection[] = [
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
    file: SHARING,
    changes: [
      [
        "  target->seen = LOAD(target->oieb->released_descriptors, acquire);\n  target->earlier = w",
        "  target->earlier = w",
      ],
    ],
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
    changes: [["const MEMORY_LINGERS_MS = 1000;", "const MEMORY_LINGERS_MS = 0;"]],
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
    only: "a reader to which frames are passed on",
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

export const sharing: readonly Protection[] = [...consent, ...refusal, ...forwarding, ...order];
