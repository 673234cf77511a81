// Shared payloads: who may share, and what a reader refuses (docs/protocol.md, section 10), and the tests that notice.

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
const PROCESSES = "tests/process/sharing.test.ts";

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
    ["is even and not 0", "id != 0 && id % 2 == 0", "id != UINT64_MAX"],
    ["uses no number", " && sequence == 0\n", "\n"],
  ].map(([what = "", find = "", replace = ""]) => ({
    what: `an attachment ${what}`,
    file: DESCRIPTORS,
    changes: [[find, replace]] as const,
    test: C_TESTS,
    only: "a descriptor is refused for good",
  })),
  {
    what: "an attachment has a name that is not too long",
    file: DESCRIPTORS,
    changes: [["size - sizeof(struct attachment) <= ZB_NAME_MAX && ", ""]],
    test: C_TESTS,
    only: "a name that is too long",
  },
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

export const sharing: readonly Protection[] = [...consent, ...refusal];
