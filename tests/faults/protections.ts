// Takes away one protection after another, in a copy of the tree, and shows that its test fails without it.
//
// Arguments: parts of the descriptions of those to try; none means all. ZB_SECONDS bounds its time (default 2,400).

import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { root } from "../../scripts/build-native.ts";
import { option } from "../support/slow-options.ts";

/** A protection, and how it goes: `find` stands exactly once in the file. */
interface Protection {
  readonly what: string;
  readonly file: string;
  readonly changes: readonly (readonly [find: string, replace: string])[];
  /** The test file that has to fail without it, and which of its tests. */
  readonly test: string;
  readonly only: string;
  readonly env?: Readonly<Record<string, string>>;
}

const OIEB = "src/native/c/oieb.c";
const READER = "src/native/c/reader.c";
const WRITER = "src/native/c/writer.c";
const LINUX = "src/native/c/linux.c";
const POSIX = "src/native/c/posix.c";
const WATCH = "src/core/writer-watch.ts";
const KILLS = "tests/faults/kills.test.ts";
const READER_TEST = "tests/unit/core/reader.test.ts";
const ENVIRONMENT = "tests/faults/environment.test.ts";
const HOSTILE = "tests/unit/core/hostile.test.ts";
const C_TESTS = "tests/native/c.test.ts";
const PLACES = "tests/process/places.test.ts";
const SURROUNDINGS = "tests/faults/surroundings.slow.test.ts";
const CLOSED = "tests/cli/descriptors.test.ts";
const FRAMING = "tests/unit/frames/framing.test.ts";

const protections: readonly Protection[] = [
  {
    what: "the size of the control block is stored last",
    file: OIEB,
    changes: [["  ZB_POINT(oieb_fill);\n", "  oieb->oieb_size = sizeof *oieb;\n  ZB_POINT(oieb_fill);\n"]],
    test: KILLS,
    only: "makes and removes its buffer",
  },
  {
    what: "what a killed creation left is removed",
    file: "src/core/buffer/create.ts",
    changes: [["if (memory === Code.AGAIN && SharedMemory.discard(name)) return undefined;", ""]],
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
    changes: [["if (!this.#reader.isAlive(readerPid) &&", "if (readerPid === 0n &&"]],
    test: KILLS,
    only: "holds frames and releases them out of order",
  },
  {
    what: "a reader looks at its writer",
    file: WATCH,
    changes: [
      ["    if (isAlive) this.#noteWriter();\n", "    if (oieb.writerPid !== 0n) this.#noteWriter();\n"],
    ],
    test: KILLS,
    only: "fills a frame in place",
  },
  {
    what: "the waste of a half-done wrap is given back",
    file: WATCH,
    changes: [["    this.#inPlaceOf(writerPid, () => this.#ring.settle());\n", ""]],
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
    what: "a signal ends a command with what it has to give back",
    file: "src/cli/session.ts",
    changes: [
      ["        controller.abort(new Interrupted(signal, exitCode));\n", "        process.exit(exitCode);\n"],
    ],
    test: "tests/cli/signals.test.ts",
    only: "a reader that waits for a writer",
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
    what: "a reader sees that its buffer was removed",
    file: "src/core/lookahead.ts",
    changes: [["if (this.#buffer.memory.isNamed) return;", 'if (this.#lender.name !== "") return;']],
    test: HOSTILE,
    only: "unlinked",
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
    what: "free bytes beyond the ring are refused",
    file: WRITER,
    changes: [["  if (free_bytes > writer->ring.payload_size) return ZB_BAD_CONTROL;\n", ""]],
    test: C_TESTS,
    only: "more free bytes than the ring has",
  },
  {
    what: "metadata that has no room any more is corruption",
    file: "src/core/writer.ts",
    changes: [["written === Code.TOO_LARGE ? Code.BAD_CONTROL : written", "written"]],
    test: HOSTILE,
    only: "metadataSize",
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
    what: "links in the place of a lock are not followed",
    file: POSIX,
    changes: [["O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK", "O_RDONLY | O_CLOEXEC | O_NONBLOCK"]],
    test: C_TESTS,
    only: "a lock path that is a link",
  },
  {
    what: "the buffer of another user is never stale",
    file: "src/core/buffer/stale.ts",
    changes: [['  if (!memory.isOwned) return foreign("it belongs to another user");\n', ""]],
    test: ENVIRONMENT,
    only: "whatever locks are planted",
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
        "if (!held_elsewhere && atomic_compare_exchange_strong_explicit(field, &expected, pid, memory_order_acq_rel,\n                                                                 memory_order_relaxed)) {",
        "atomic_store(field, pid);\n  if (!held_elsewhere && expected != UINT64_MAX) {",
      ],
    ],
    test: PLACES,
    only: "writers that start at the same time",
  },
  {
    what: "a recycled pid is not the peer",
    file: "src/core/buffer/presence.ts",
    changes: [["isOwn || (this.#memory.isMappedBy(Number(pid)) ?? !hadPid);", "true;"]],
    test: "tests/unit/core/buffer/lifecycle.test.ts",
    only: "is not protected by a process that has got its pid since",
  },
  {
    what: "a process that may not be signalled lives",
    file: LINUX,
    changes: [[" && errno != EPERM) return -1;", ") return -1;"]],
    test: ENVIRONMENT,
    only: "the reader of another user",
  },
  {
    what: "who lives in another pid namespace is known by its lock",
    file: "src/core/buffer/connect.ts",
    changes: [["  return BufferLocks.areHeld(name)\n", '  return name === ""\n']],
    test: SURROUNDINGS,
    only: "pid namespace",
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
    what: "the executable ignores the working directory's configuration",
    file: "scripts/executable.ts",
    changes: [["autoloadDotenv: false, autoloadBunfig: false", "autoloadDotenv: true, autoloadBunfig: true"]],
    test: ENVIRONMENT,
    only: "executes and reads nothing",
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
    what: "the event loop turns while a large frame is copied",
    file: "src/frames/transforms.ts",
    changes: [["    await turn();\n", ""]],
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
      ['    if (systemCode(error) !== "EPIPE" && failure === undefined) throw resultLost(error);\n', ""],
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
    what: "a client waits until the server has hung up on one that was killed",
    file: "src/core/duplex/client.ts",
    changes: [["return error instanceof CorruptBufferError;", "return error === undefined;"]],
    test: "tests/faults/channels.test.ts",
    only: "sends requests and receives the responses later",
  },
  {
    what: "a client reports the failure of its last request",
    file: "src/commands/duplex/request-loop.ts",
    changes: [
      ["await this.#waitForResponse();\n    this.#throwFailure();\n", "await this.#waitForResponse();\n"],
    ],
    test: "tests/cli/duplex-request.test.ts",
    only: "the response to its last request",
  },
  {
    what: "a server answers a client in that client's own buffer",
    file: "src/core/duplex/service.ts",
    changes: [["if (request.sequence === 1) {", "if (isFirst && request.sequence === 1) {"]],
    test: "tests/unit/core/duplex/server.test.ts",
    only: "tells clients apart that follow each other",
  },
  {
    what: "a writer withdraws the metadata of the one before it",
    file: WRITER,
    changes: [["  zb_metadata_withdraw(ring.oieb, ring.metadata_size);\n  writer->", "  writer->"]],
    test: "tests/unit/core/reader.test.ts",
    only: "ends what is known of the metadata",
  },
  {
    what: "the token of a close is expected",
    file: WATCH,
    changes: [["this.#surplusTokensSeen + (isOwed ? 1 : 0);", "this.#surplusTokensSeen + (isOwed ? 0 : 0);"]],
    test: READER_TEST,
    only: "is reported once",
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

/** Longer than each of these tests takes: without its protection one may hang, and that is a failure, too. */
const PATIENCE_MS = 120_000;

/** What chance or a busy machine may spoil gets another try. */
const TRIES = 2;

/** When to end at the latest: ZB_SECONDS. What has not been tried then has not been shown. */
const deadline = performance.now() + option("ZB_SECONDS", 2400) * 1000;

/** Kills a process and all that it has started. */
function killAll(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // None is left.
  }
}

/**
 * Where that is permitted, what is run has shared memory and lock files for itself: without a protection it may leave
 * anything there, and readers of other programs remove what a test has left on purpose.
 */
const alone = [
  "unshare",
  "--mount",
  "sh",
  "-c",
  `mkdir -p -m 1777 /tmp/zerobuffer &&
  mount -t tmpfs -o mode=1777 tmpfs /tmp/zerobuffer && mount -t tmpfs -o mode=1777 tmpfs /dev/shm && exec "$@"`,
  "sh",
];
const isPermitted = Bun.spawnSync([...alone, "true"]).exitCode === 0;

async function runIn(tree: string, command: string[], env: Readonly<Record<string, string>> = {}) {
  const child = Bun.spawn(isPermitted ? [...alone, ...command] : command, {
    cwd: tree,
    env: { ...process.env, ...env },
    stdio: ["ignore", "ignore", "pipe"],
    // A process group of its own.
    detached: true,
  });
  const timer = setTimeout(() => killAll(child.pid), PATIENCE_MS);
  const stderr = child.stderr.text();
  const exitCode = await child.exited;
  clearTimeout(timer);
  killAll(child.pid);
  return { exitCode, stderr: await stderr };
}

/** Runs the test in the tree as it is. Throws if the tree does not build or has no such test. */
async function passes(tree: string, { test, only, env }: Protection): Promise<boolean> {
  const built = await runIn(tree, [process.execPath, "scripts/build-native.ts"]);
  if (built.exitCode !== 0) throw new Error(`it does not build: ${built.stderr}`);
  const { exitCode, stderr } = await runIn(tree, [process.execPath, "test", `./${test}`, "-t", only], env);
  const ran = /^ *[1-9]\d* (pass|fail)$/m.test(stderr);
  if (exitCode === 0 && !ran)
    throw new Error(`no test of ${test} is called "${only}", or it is skipped here`);
  return exitCode === 0;
}

/** Not in the temp directory, which some tests hide from what they run. */
function copyTree(): string {
  mkdirSync(join(root, "dist"), { recursive: true });
  const tree = mkdtempSync(join(root, "dist", "protections-"));
  process.on("exit", () => rmSync(tree, { recursive: true }));
  for (const signal of ["SIGHUP", "SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));
  // Some tests run the executable as another user.
  chmodSync(tree, 0o755);
  const files = Bun.spawnSync(["git", "ls-files", "-z"], { cwd: root }).stdout.toString().split("\0");
  for (const file of files.filter((name) => name !== "")) cpSync(join(root, file), join(tree, file));
  symlinkSync(join(root, "node_modules"), join(tree, "node_modules"));
  return tree;
}

/** The file without the protection. Throws if the file is not as it was when the protection was described. */
function without({ file, changes }: Protection, tree: string): string {
  let text = readFileSync(join(tree, file), "utf8");
  for (const [find, replace] of changes) {
    if (text.split(find).length !== 2) throw new Error(`${file} has not exactly one: ${find}`);
    text = text.replace(find, () => replace);
  }
  return text;
}

/** Takes the protection away in the tree, tries its test, and puts it back: whether the test has failed. */
async function isShown(tree: string, protection: Protection): Promise<boolean> {
  const path = join(tree, protection.file);
  const whole = readFileSync(path, "utf8");
  writeFileSync(path, without(protection, tree));
  try {
    return !(await passes(tree, protection));
  } finally {
    writeFileSync(path, whole);
  }
}

async function within(tries: number, attempt: () => Promise<boolean>): Promise<boolean> {
  for (let count = 0; count < tries; count++) if (await attempt()) return true;
  return false;
}

async function outcomeOf(tree: string, protection: Protection): Promise<string> {
  if (performance.now() > deadline) return "NOT TRIED";
  try {
    if (!(await within(TRIES, () => isShown(tree, protection)))) return "NOT SHOWN";
    return (await within(TRIES, () => passes(tree, protection))) ? "shown" : "FAILS ALSO WITH IT";
  } catch (error) {
    return (error as Error).message;
  }
}

const wanted = process.argv.slice(2);
const chosen = protections.filter(
  ({ what }) => wanted.length === 0 || wanted.some((part) => what.includes(part)),
);
// All of them before any is tried, which takes long.
const unknown = chosen.flatMap((protection) => {
  try {
    without(protection, root);
    return [];
  } catch (error) {
    return [`${protection.what}: ${(error as Error).message}`];
  }
});
if (unknown.length > 0) throw new Error(unknown.join("\n"));
const tree = copyTree();
let missed = 0;
for (const protection of chosen) {
  const start = performance.now();
  const outcome = await outcomeOf(tree, protection);
  if (outcome !== "shown") missed++;
  const seconds = ((performance.now() - start) / 1000).toFixed(0);
  console.log(`${outcome}: ${protection.what} (${protection.test}, ${seconds} s)`);
}
console.log(
  `${chosen.length - missed} of ${chosen.length} protections shown by a test that fails without them`,
);
process.exitCode = missed > 0 || chosen.length === 0 ? 1 : 0;
