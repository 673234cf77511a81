// What the helper and its handles protect, and the tests that notice.

import type { Protection } from "./protection.ts";

const OIEB = "src/native/c/oieb.c";
const READER = "src/native/c/reader.c";
const WRITER = "src/native/c/writer.c";
const LINUX = "src/native/c/linux.c";
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
    file: LINUX,
    changes: [["*field == 'Z' || *field == 'X'", "*field == 'Z' || *field == 'X' || *field == 'T'"]],
    test: "tests/process/death.test.ts",
    only: "as a reader is not taken for dead",
  },
  {
    what: "a zombie is dead",
    file: LINUX,
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
    test: HOSTILE,
    only: "has truncated",
  },
  {
    what: "a descriptor is closed when a call fails",
    file: LINUX,
    changes: [
      [
        "  if (code != ZB_OK && named) unlink(path);\n  close(fd);",
        "  if (code != ZB_OK && named) unlink(path);\n  if (code == ZB_OK) close(fd);",
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
    file: READER,
    changes: [
      ["header.size <= size - HEADER && header.size <= size - HEADER - position;", "header.size > 0;"],
    ],
    test: C_TESTS,
    only: "impossible size",
  },
  {
    what: "a frame's number is checked",
    file: READER,
    changes: [["bool follows = header.sequence == reader->next_sequence;", "bool follows = true;"]],
    test: C_TESTS,
    only: "repeats skips or runs backwards",
  },
  {
    what: "a header is read once",
    file: READER,
    changes: [
      [
        "reader->view.frames[count].size = (double)header.size;",
        "reader->view.frames[count].size = (double)load_header(reader->ring.payload + position).size;",
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
    file: LINUX,
    changes: [[" && errno != EPERM) return -1;", ") return -1;"]],
    test: ENVIRONMENT,
    only: "the reader of another user",
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
    file: READER,
    changes: [
      ["(uint32_t)count < tokens && unread > 0", "(uint32_t)count < tokens"],
      ["    if (unread <= (int64_t)waste) break;\n", ""],
    ],
    test: HOSTILE,
    only: "posted far too often",
  },
  {
    what: "a full semaphore is not posted",
    file: LINUX,
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
        "reader->oldest != reader->newest && reader->lent[reader->oldest & mask].released",
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
    changes: [["  zb_metadata_withdraw(ring.oieb, ring.metadata_size);\n  writer->", "  writer->"]],
    test: "tests/unit/core/reader.test.ts",
    only: "ends what is known of the metadata",
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
];
