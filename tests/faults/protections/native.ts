// What the helper and its handles protect, and the tests that notice.

import type { Protection } from "./protection.ts";

const OIEB = "src/native/c/oieb.c";
const READER = "src/native/c/reader.c";
const URING = "src/native/c/linux_uring.c";
const HEADERS = "src/native/c/reader.h";
const WRITER = "src/native/c/writer.c";
const LINUX = "src/native/c/linux.c";
const PRESENCE = "src/native/c/linux_presence.c";
const POSIX = "src/native/c/posix.c";
const KILLS = "tests/faults/kills.test.ts";
const ENVIRONMENT = "tests/faults/environment.test.ts";
const HOSTILE = "tests/unit/core/hostile.test.ts";
const C_TESTS = "tests/native/c.test.ts";
const PLACES = "tests/process/places.test.ts";
const SURROUNDINGS = "tests/faults/surroundings.slow.test.ts";

export const native: readonly Protection[] = [
  {
    what: "the size of the control block is stored last",
    file: OIEB,
    changes: [["  ZB_POINT(oieb_fill);\n", "  oieb->oieb_size = sizeof *oieb;\n  ZB_POINT(oieb_fill);\n"]],
    test: KILLS,
    only: "makes and removes its buffer",
  },
  {
    what: "a frame is published when it is whole",
    file: WRITER,
    changes: [
      [
        "  ZB_POINT(write_header);\n",
        "  atomic_fetch_sub((_Atomic(uint64_t) *)&writer->ring.oieb->payload_free_bytes, waste + total);\n  ZB_POINT(write_header);\n",
      ],
      [
        "payload_free_bytes, bytes, memory_order_release)",
        "payload_free_bytes, 0 * bytes, memory_order_release)",
      ],
    ],
    test: KILLS,
    only: "writes frames of several sizes",
  },
  {
    what: "who is stopped is not dead",
    file: PRESENCE,
    changes: [["*field == 'Z' || *field == 'X'", "*field == 'Z' || *field == 'X' || *field == 'T'"]],
    test: C_TESTS,
    only: "process that is stopped",
  },
  {
    what: "a zombie is dead",
    file: PRESENCE,
    changes: [["if (*field == 'Z' || *field == 'X') return -1;", ""]],
    test: C_TESTS,
    only: "even as a zombie",
  },
  {
    what: "shared memory is allocated when it is made",
    file: LINUX,
    changes: [["posix_fallocate(fd, 0, (off_t)size)", "ftruncate(fd, (off_t)size)"]],
    test: ENVIRONMENT,
    only: "refuses a larger buffer",
  },
  {
    what: "a fault in memory that was cut off is survived",
    file: POSIX,
    changes: [["  sigaction(SIGBUS, &action, &previous_sigbus);\n}", "  (void)action;\n}"]],
    test: HOSTILE,
    only: "truncated",
  },
  {
    what: "a fault in the thread that waits is survived",
    file: "src/native/c/waiter.c",
    changes: [["  sigdelset(&all, SIGBUS);\n", ""]],
    test: C_TESTS,
    only: "semaphore that is truncated end",
  },
  {
    what: "a descriptor is closed when a call fails",
    file: LINUX,
    changes: [
      [
        "  if (code != ZB_OK)\n    close(fd);\n  else\n    code = zb_object_add(",
        "  if (code == ZB_OK)\n    code = zb_object_add(",
      ],
    ],
    test: "tests/faults/errors.slow.test.ts",
    only: "makes and removes its buffer",
  },
  {
    what: "free bytes beyond the ring are refused",
    file: WRITER,
    changes: [["  if (free_bytes > writer->ring.payload_size) return ZB_BAD_CONTROL;\n", ""]],
    test: C_TESTS,
    only: "more free bytes than the ring has",
  },
  {
    what: "a frame's size is checked",
    file: HEADERS,
    changes: [
      [
        "  const uint64_t most = reader->ring.payload_size - HEADER;\n",
        "  (void)reader;\n  (void)position;\n",
      ],
      ["return size >= 1 && size <= most && size <= most - position;", "return size >= 1;"],
    ],
    test: C_TESTS,
    only: "impossible size",
  },
  {
    what: "a frame's number is checked",
    file: HEADERS,
    changes: [["? sequence != 0 : sequence == reader->next_sequence;", "|| sequence != 0;"]],
    test: C_TESTS,
    only: "repeats skips or runs backwards",
  },
  {
    what: "a header is read once",
    file: READER,
    changes: [
      [
        "reader->view.frames[count].size = (double)header.size;",
        "reader->view.frames[count].size = (double)load_header(reader->ring.payload + found.position).size;",
      ],
    ],
    test: C_TESTS,
    only: "header that changes",
  },
  {
    what: "the length prefix of metadata is not believed",
    file: OIEB,
    changes: [["  if (LOAD(block[0], relaxed) != length) return ZB_AGAIN;\n", ""]],
    test: C_TESTS,
    only: "prefix that contradicts",
  },
  {
    what: "links in the place of a lock are not followed",
    file: POSIX,
    changes: [["O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK", "O_RDONLY | O_CLOEXEC | O_NONBLOCK"]],
    test: C_TESTS,
    only: "a lock path that is a link",
  },
  {
    what: "a reader holds its lock",
    file: POSIX,
    changes: [["flock(descriptor, LOCK_EX | LOCK_NB)", "0"]],
    test: PLACES,
    only: "readers that start at the same time",
  },
  {
    what: "a writer takes its place by compare-and-swap",
    file: OIEB,
    changes: [
      [
        "if (!is_taken && atomic_compare_exchange_strong_explicit(field, &expected, pid, memory_order_acq_rel,\n                                                           memory_order_relaxed)) {",
        "atomic_store(field, pid);\n  if (!is_taken && expected != UINT64_MAX) {",
      ],
    ],
    test: PLACES,
    only: "writers that start at the same time",
  },
  {
    what: "a process that may not be signalled lives",
    file: PRESENCE,
    changes: [[" && errno != EPERM) return -1;", ") return -1;"]],
    test: C_TESTS,
    only: "may not be signalled",
  },
  {
    what: "time is monotonic",
    file: LINUX,
    changes: [["clock_ns(CLOCK_MONOTONIC);", "clock_ns(CLOCK_REALTIME);"]],
    test: SURROUNDINGS,
    only: "wall clock",
  },
  {
    what: "a surplus token is no frame",
    file: HEADERS,
    changes: [["  if (unread <= (int64_t)found->waste) return false;\n", "  (void)unread;\n"]],
    test: HOSTILE,
    only: "posted far too often",
  },
  {
    what: "a full semaphore is not posted",
    file: "src/native/c/tokens.h",
    changes: [["> (uint32_t)(INT_MAX - count)) return;", "> UINT32_MAX - 1) return;"]],
    test: C_TESTS,
    only: "semaphore that is full stays full",
  },
  {
    what: "a waiter passes on the wake-up that was not for it alone",
    file: "src/native/c/waiter.c",
    changes: [["      zb_semaphore_wake(waiter->semaphore);\n    ZB_POINT", "      (void)0;\n    ZB_POINT"]],
    test: C_TESTS,
    only: "does not swallow the wake up",
  },
  {
    what: "a wait of the kernel's passes on the wake-up that was not for it alone",
    file: URING,
    changes: [
      [
        "  if ((uint32_t)before > 0 && before >> 32 > 1) zb_semaphore_wake(uring->semaphore);",
        "  (void)before;",
      ],
    ],
    test: C_TESTS,
    only: "no wake up is lost",
  },
  {
    what: "the count of waiters is left once the bell is heard",
    file: URING,
    changes: [["  if (uring->pending == 0) leave(uring);\n", ""]],
    test: C_TESTS,
    only: "many waits rings once",
  },
  {
    what: "a waiter that is closed takes its wait out of the kernel",
    file: URING,
    changes: [["  cancel(uring);\n  leave(uring);\n  free_uring", "  leave(uring);\n  free_uring"]],
    test: C_TESTS,
    only: "waiter that is closed leaves the next wake up",
  },
  {
    what: "the bell rings at once when the kernel takes no requests",
    file: URING,
    changes: [["  if (taken < 3) ring_bell(uring);\n", ""]],
    test: C_TESTS,
    only: "takes no more requests",
  },
  {
    what: "an allocation that was interrupted is asked for again",
    file: LINUX,
    changes: [["while (error == EINTR);", "while (0);"]],
    test: "tests/faults/waiting.test.ts",
    only: "is allocated",
  },
  {
    what: "no tail of 1 to 15 bytes is left",
    file: WRITER,
    changes: [["total <= to_end && (to_end == total || to_end - total >= HEADER);", "total <= to_end;"]],
    test: C_TESTS,
    only: "every tail of",
  },
  {
    what: "space is given back in the order of reading",
    file: READER,
    changes: [
      [
        "reader->oldest != reader->newest && reader->lent[reader->oldest & mask].references == 0",
        "reader->oldest != reader->newest",
      ],
    ],
    test: C_TESTS,
    only: "held across a wrap",
  },
  {
    what: "the helper is loaded from elsewhere where the temp directory does not allow it",
    file: "src/native/library.ts",
    changes: [['["/tmp", "/var/tmp", "/dev/shm", HOME ?? "/"]', "[] as string[]"]],
    test: ENVIRONMENT,
    only: "temp directory",
  },
  {
    what: "a helper that was unpacked to a name of its own does not stay",
    file: "src/native/library.ts",
    changes: [["removeSurplusCopy(pathOf(functions));", ""]],
    test: ENVIRONMENT,
    only: "has taken the name",
  },
  {
    what: "nor does one that cannot be loaded",
    file: "src/native/library.ts",
    changes: [["removeSurplusCopy(/^Failed", "void (/^Failed"]],
    test: ENVIRONMENT,
    only: "has taken the name",
  },
  {
    what: "a writer withdraws the metadata of the one before it",
    file: WRITER,
    changes: [
      ["  if (zb_is_reader_ours(ring.oieb)) zb_metadata_withdraw(ring.oieb, ring.metadata_size);\n", ""],
    ],
    test: "tests/unit/core/reader.test.ts",
    only: "ends what is known of the metadata",
  },
  {
    what: "a reader of version 1 keeps the metadata of the writer before",
    file: WRITER,
    changes: [["  if (zb_is_reader_ours(ring.oieb)) zb_metadata_withdraw(", "  zb_metadata_withdraw("]],
    test: C_TESTS,
    only: "withdraws the last ones metadata",
  },
  {
    what: "the lock of a role is given up at the close of memory that stays mapped",
    file: POSIX,
    changes: [
      [
        "  for (int32_t role = ZB_WRITER; role <= ZB_READER; role++) zb_role_unlock((zb_memory *)object, role);\n",
        "",
      ],
    ],
    test: C_TESTS,
    only: "a lock ends when its object is closed",
  },
  {
    what: "the lock of a role does not go on in another program",
    file: LINUX,
    changes: [["open(again, access | O_CLOEXEC)", "open(again, access)"]],
    test: C_TESTS,
    only: "not by a program that the fork becomes",
  },
  {
    what: "a system without locks of roles is known by its answer",
    file: PRESENCE,
    changes: [
      ["return error == EINVAL || error == ENOLCK ? ZB_UNSUPPORTED : zb_code_of(error);", "return ZB_OK;"],
    ],
    test: C_TESTS,
    only: "a system without locks",
  },
  {
    what: "the signal that somebody opens the memory is taken back",
    file: PRESENCE,
    changes: [["    take_break_signal();\n  }", "    (void)take_break_signal;\n  }"]],
    test: C_TESTS,
    only: "no handler hears",
  },
  {
    what: "a signal that somebody has sent is not taken with it",
    file: PRESENCE,
    changes: [["  if (foreign) kill(getpid(), BREAK_SIGNAL);\n", "  (void)foreign;\n"]],
    test: C_TESTS,
    only: "a signal that somebody has sent",
  },
  {
    what: "who opens memory waits for an answer that somebody else is getting",
    file: LINUX,
    changes: [
      ["open(again, access | O_CLOEXEC)", "open(again, access | O_CLOEXEC | O_NONBLOCK)"],
      ["(errno != EINTR && errno != EWOULDBLOCK)", "errno != EINTR"],
    ],
    test: C_TESTS,
    only: "refuses no open of ours",
  },
  {
    what: "a system whose leases tell nothing is not asked",
    file: PRESENCE,
    changes: [
      ["  if (atomic_load_explicit(&known, memory_order_relaxed) != TELL) return ZB_UNSUPPORTED;\n", ""],
    ],
    test: C_TESTS,
    only: "always says the same",
  },
  {
    what: "who reads the frames through another buffer is not in the way",
    file: PRESENCE,
    changes: [["  if (is_locked(memory, SHARED_PAYLOAD) != 0) return ZB_UNSUPPORTED;\n", ""]],
    test: C_TESTS,
    only: "through another buffer",
  },
  {
    what: "the mark goes with its pid",
    file: OIEB,
    changes: [["  if (marks) STORE(oieb->mark, 0, relaxed);\n", ""]],
    test: C_TESTS,
    only: "the mark follows the pid",
  },
  {
    what: "the mark goes before its pid",
    file: OIEB,
    changes: [
      ["  if (marks) STORE(oieb->mark, 0, relaxed);\n", ""],
      ["  ZB_POINT(claim_mark);\n", "  if (marks) STORE(oieb->mark, 0, relaxed);\n"],
    ],
    test: C_TESTS,
    only: "never seen without its pid",
  },
  {
    what: "a reader stands at the end of the ring after a frame that ends it",
    file: READER,
    changes: [
      [
        "payload_read_pos, end, relaxed);",
        "payload_read_pos, end == reader->ring.payload_size ? 0 : end, relaxed);",
      ],
    ],
    test: C_TESTS,
    only: "the reader at the end",
  },
  {
    what: "a writer that has written nothing puts the positions back",
    file: WRITER,
    changes: [
      ["  STORE(oieb->payload_read_pos, writer->rewound.read_pos, relaxed);\n", ""],
      ["  STORE(oieb->payload_write_pos, writer->rewound.write_pos, relaxed);\n", ""],
    ],
    test: C_TESTS,
    only: "puts the positions back",
  },
  {
    what: "a writer that has written something does not put the positions back",
    file: WRITER,
    changes: [["  writer->rewound.unused = false;\n  writer->keep_warm", "  writer->keep_warm"]],
    test: C_TESTS,
    only: "has written since it rewound",
  },
  {
    what: "headers that somebody else has written are followed only inside the ring",
    file: WRITER,
    changes: [
      ["    if (position > end || end - position <= HEADER) return ZB_BAD_SEQUENCE;\n", ""],
      ["header.size < 1 || header.size > end - position - HEADER", "header.size < 1"],
    ],
    test: C_TESTS,
    only: "headers that do not lead",
  },
  {
    what: "no more views are kept than there are slots",
    file: "src/native/views.ts",
    changes: [
      ["const cached = this.#cache[slot];", "const cached = this.#cache[offset * 512 + size];"],
      ["this.#cache[slot] = view;", "this.#cache[offset * 512 + size] = view;"],
    ],
    test: "tests/process/soak.slow.test.ts",
    only: "neither side grows",
    env: { ZB_FRAMES: "600000", ZB_SEED: "7" },
  },
  {
    what: "nothing is written for a reader that has read everything and left",
    file: "src/native/c/writer.c",
    changes: [
      [
        "  if (writer->pid_lost || !is_same_reader(writer)) return ZB_PEER_CHECK;\n",
        "  (void)is_same_reader;\n  if (writer->pid_lost) return ZB_PEER_CHECK;\n",
      ],
    ],
    test: "tests/unit/core/writer.test.ts",
    only: "where the reader has read everything before",
  },
];
