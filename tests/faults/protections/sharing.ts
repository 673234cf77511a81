// What shared payloads rest on (docs/protocol.md, section 10), and the tests that notice.

import type { Protection } from "./protection.ts";

const TARGET = "src/core/sharing/target.ts";
const SOURCE = "src/core/sharing/source.ts";
const ATTACHMENTS = "src/core/sharing/attachments.ts";
const SHARING = "src/native/c/sharing.c";
const LINUX_SHARING = "src/native/c/linux_sharing.c";
const ASKING = "tests/unit/core/sharing/asking.test.ts";
const ATTACHING = "tests/unit/core/sharing/attaching.test.ts";
const FORWARDING = "tests/unit/core/sharing/forwarding.test.ts";
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
    what: "the name of a source is a name",
    file: ATTACHMENTS,
    changes: [["      checkName(name);\n", ""]],
    test: ATTACHING,
    only: "whose name begins with ../shm/",
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
    what: "a source is mapped to be read only",
    file: LINUX_SHARING,
    changes: [["zb_memory_look(name, 0, &memory)", "zb_memory_look(name, 1, &memory)"]],
    test: PROCESSES,
    only: "cannot be changed through its view",
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
    what: "a forwarder notes the count that it finds",
    file: SHARING,
    changes: [["  target->seen = LOAD(target->oieb->released_descriptors, acquire);\n", ""]],
    test: FORWARDING,
    only: "pass to the source when the writer is closed",
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
];

export const sharing: readonly Protection[] = [...consent, ...refusal, ...forwarding];
