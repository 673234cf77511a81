import { beforeAll, describe, expect, test } from "bun:test";
import {
  closeSync,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { Reader } from "../../src/core/index.ts";
import { endAll, kill, startReader, startWriter } from "../process/peers.ts";
import { V1 } from "../process/v1.ts";
import { uniqueName } from "../support/buffers.ts";
import { run, runJson } from "../support/process.ts";
import { expectValid } from "../support/schemas.ts";
import {
  LOCKS,
  leaveStaleBuffer,
  listed,
  lockOf,
  objectsOf,
  removeAll,
  shm,
  small,
} from "./stale-buffers.ts";

beforeAll(() => {
  // Makes the lock directories.
  new Reader(uniqueName(), { metadataSize: 0, payloadSize: 64 }).close();
});

describe("clean", () => {
  test("removes what a killed reader left, and --dry-run only says so", async () => {
    const name = uniqueName();
    await leaveStaleBuffer(name);
    const dry = await runJson("clean", "--dry-run", name);
    expect(dry.code).toBe(0);
    const removed = [
      { buffer_name: name, paths: objectsOf(name), bytes: 128 + 256 + 4096 + 2 * 32, forced: false },
    ];
    expect(expectValid("clean", dry.document)).toMatchObject({ dry_run: true, removed, left: [] });
    for (const path of objectsOf(name)) expect(existsSync(path)).toBe(true);
    const { code, document } = await runJson("clean");
    expect(code).toBe(0);
    expect(expectValid("clean", document).removed).toContainEqual(removed[0]);
    expect(document.dry_run).toBe(false);
    for (const path of objectsOf(name)) expect(existsSync(path)).toBe(false);
  });

  test("keeps what a process that is not visible may use, and removes it by --force, which wants names", async () => {
    const name = uniqueName();
    // A buffer of version 1 whose pids nobody has, and which somebody has open.
    const image = readFileSync(join(import.meta.dir, "..", "golden", "04-three-frames.bin"));
    for (const offset of [80, 88]) image.writeBigUInt64LE(2n ** 22n, offset);
    writeFileSync(shm(name), image);
    const descriptor = openSync(shm(name), "r");
    const kept = await run("clean", name);
    expect([kept.code, kept.stderr]).toEqual([
      1,
      expect.stringMatching(/not visible from here, and may be alive[\s\S]*zerobuffer clean --force /),
    ]);
    expect((await run("clean", "--force")).code).toBe(3);
    expect((await runJson("clean", "--force", "--dry-run", name)).document).toMatchObject({
      removed: [{ forced: true }],
    });
    expect(existsSync(shm(name))).toBe(true);
    const forced = await run("clean", "--force", name);
    expect([forced.code, forced.stdout.toString()]).toEqual([
      0,
      expect.stringContaining("A process that is not visible from here may lose it."),
    ]);
    expect(existsSync(shm(name))).toBe(false);
    closeSync(descriptor);
  });

  test("never removes by --force what a lock shows to be alive", async () => {
    using reader = new Reader(uniqueName(), small);
    const { code, stderr } = await run("clean", "--force", reader.name);
    expect([code, stderr]).toEqual([1, expect.stringContaining("is alive")]);
    expect(existsSync(shm(reader.name))).toBe(true);
  });

  test("finds a stale buffer whose lock file is gone, and leaves none of its own", async () => {
    const name = uniqueName();
    await leaveStaleBuffer(name);
    unlinkSync(lockOf(name));
    const { code, stdout } = await run("clean", name);
    expect([code, stdout.toString()]).toEqual([
      0,
      `Removed ${name}: 4 files, 4.4 KiB.\nRemoved 4.4 KiB in all.\n`,
    ]);
    for (const path of objectsOf(name)) expect(existsSync(path)).toBe(false);
  });

  test("removes leftover semaphores and locks", async () => {
    const [semaphore, lock] = [uniqueName(), uniqueName()];
    const paths = [shm(`sem.sem-r-${semaphore}`), lockOf(lock)];
    for (const path of paths) writeFileSync(path, Buffer.alloc(32));
    const { document } = await runJson("clean");
    const removed = document.removed.flatMap(({ paths }: { paths: string[] }) => paths);
    for (const path of paths) {
      expect(removed).toContain(path);
      expect(existsSync(path)).toBe(false);
    }
  });

  test.each([
    ["live", "READER_ALREADY_CONNECTED"],
    ["idle", "READER_ALREADY_CONNECTED"],
    ["orphan", "WRITER_ALREADY_CONNECTED"],
  ])("leaves a buffer that is %s, and says why", async (state, errorCode) => {
    const name = uniqueName();
    await using reader = await startReader(name, small);
    await using writer = state === "idle" ? undefined : await startWriter(name, small);
    if (state === "orphan") await kill(reader);
    const named = await runJson("clean", name);
    expect([named.code, expectValid("clean", named.document).error.code]).toEqual([1, errorCode]);
    const all = await runJson("clean");
    expect(all.code).toBe(0);
    expect(expectValid("clean", all.document).left).toContainEqual({
      buffer_name: name,
      code: errorCode,
      reason: expect.stringContaining("is alive"),
    });
    for (const path of objectsOf(name)) expect(existsSync(path)).toBe(true);
    if (writer !== undefined) await endAll(writer);
    if (state !== "orphan") await endAll(reader);
    else expect((await run("clean", name)).code).toBe(0);
  });

  test("beside a pair that is moving frames loses none of them, though their locks are gone", async () => {
    const name = uniqueName();
    const frames = 100_000;
    await using reader = await startReader(name, { ...small, payloadSize: 65_536 });
    await using writer = await startWriter(name, small);
    await reader.send({ do: "read", frames }).receive("reading");
    await writer.send({ do: "write", frames }).receive("writing");
    for (let round = 0; round < 3; round++) {
      removeAll([lockOf(name), `${LOCKS}/locks/${name}.lock`]);
      if (round === 2) writeFileSync(lockOf(name), "");
      expect((await runJson("clean", name)).document.error.code).toBe("READER_ALREADY_CONNECTED");
      expect((await run("list")).code).toBe(0);
      expect((await run("inspect", name)).code).toBe(0);
    }
    expect(await reader.receive("read")).toMatchObject({ frames, sequence: frames, wrong: [] });
    await writer.receive("wrote");
    await endAll(writer, reader);
    removeAll([lockOf(name)]);
  });

  test("does what it can of several names, and fails for the others", async () => {
    const [stale, missing] = [uniqueName(), uniqueName()];
    await leaveStaleBuffer(stale);
    using reader = new Reader(uniqueName(), { payloadSize: 4096 });
    // The reader above has swept: another stale one.
    await leaveStaleBuffer(stale);
    const { code, document } = await runJson("clean", reader.name, stale, missing);
    expect(code).toBe(1);
    expect(expectValid("clean", document)).toMatchObject({
      removed: [{ buffer_name: stale }],
      left: [{ buffer_name: reader.name }],
      errors: [
        `Buffer "${reader.name}" was kept: its reader (process ${process.pid}) is alive.`,
        `There is no buffer "${missing}".`,
      ],
      error: { code: "BUFFER_NOT_FOUND" },
    });
  });

  test("touches nothing if one of the names cannot be a buffer's", async () => {
    const name = uniqueName();
    await leaveStaleBuffer(name);
    const { code, document } = await runJson("clean", name, "../etc");
    expect([code, document.error.code, document.removed]).toEqual([3, "INVALID_NAME", []]);
    expect(existsSync(shm(name))).toBe(true);
    expect((await run("clean", name)).code).toBe(0);
  });

  test("removes nothing of a file that a planted lock and semaphore name", async () => {
    const name = uniqueName();
    const text = "The file of another program. ".repeat(20);
    writeFileSync(shm(name), text);
    writeFileSync(lockOf(name), "");
    expect((await runJson("clean", name)).document.error.code).toBe("CORRUPT_BUFFER");
    expect((await run("clean")).code).toBe(0);
    expect(readFileSync(shm(name), "utf8")).toBe(text);
    removeAll([shm(name), lockOf(name)]);
  });

  test.each([
    ["symbolic link", (victim: string, path: string) => symlinkSync(victim, path)],
    ["hard link", (victim: string, path: string) => linkSync(victim, path)],
    ["FIFO", (_: string, path: string) => void Bun.spawnSync(["mkfifo", path])],
    ["directory", (_: string, path: string) => mkdirSync(path)],
  ])("follows and removes no lock that is a %s", async (_, plant) => {
    const name = uniqueName();
    const victim = join(LOCKS, `${name}.victim`);
    await leaveStaleBuffer(name);
    writeFileSync(victim, "precious");
    unlinkSync(lockOf(name));
    plant(victim, lockOf(name));
    const { code, document } = await runJson("clean", name);
    expect([code, document.removed]).toEqual([1, []]);
    expect(document.left[0].reason).toContain("its lock cannot be taken");
    expect(existsSync(shm(name))).toBe(true);
    expect(readFileSync(victim, "utf8")).toBe("precious");
    expect(statSync(lockOf(name), { throwIfNoEntry: false })).toBeDefined();
    for (const path of [...objectsOf(name), victim]) rmSync(path, { recursive: true, force: true });
  });
});

const v1 = await V1.build();

describe("a reader of another implementation", () => {
  test.each([
    ["locked", 1],
    ["opened", 2],
    ["sized", 2],
    ["filled", 2],
    ["claimed", 2],
    ["ready", 4],
  ] as const)(
    "is not disturbed when it is %s, and cleaned up after when it is killed then",
    async (step, files) => {
      const name = uniqueName();
      await using reader = v1.steppingReader(name, 4096, { frames: 100 });
      for (let announced = ""; announced !== step; reader.write(announced === step ? "" : "\n")) {
        announced = (await reader.receiveAny()).event;
      }
      expect(await listed(name)).toMatchObject({ state: "idle", reader: { alive: true } });
      expect((await runJson("clean", name)).document.error.code).toBe("READER_ALREADY_CONNECTED");
      await kill(reader);
      expect((await listed(name)).state).toBe("stale");
      const { code, document } = await runJson("clean", name);
      expect([code, document.removed[0].paths.length]).toEqual([0, files]);
      for (const path of objectsOf(name)) expect(existsSync(path)).toBe(false);
    },
  );
});
