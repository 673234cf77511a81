// Readers and writers of different users, none of whom may ask the kernel about the others' files.

import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { OiebWord } from "../../src/core/buffer/oieb.ts";
import { Reader } from "../../src/core/index.ts";
import { bufferMade, eventually, fieldOf, rejectionOf, uniqueName } from "../support/buffers.ts";
import { Bundle, isRoot } from "../support/bundle.ts";
import { canContain, container } from "../support/containers.ts";
import { Child } from "../support/process.ts";
import { kill } from "./peers.ts";
import { V1 } from "./v1.ts";

/** How soon a death has to be told. */
const NOTICED_MS = 1000;

const [v1, bundle] = await Promise.all([V1.build(), Bundle.build()]);

/** Everybody may write to what they make. */
const open = ["sh", "-c", 'umask 0; exec "$@"', "sh"];

/** The words in front of a command that has no CAP_LEASE, as is usual in containers. */
const users = {
  root: ["setpriv", "--bounding-set=-lease", "--inh-caps=-lease", ...open],
  "another user": ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", ...open],
} as const;

type User = keyof typeof users;
const otherThan = (user: User): User => (user === "root" ? "another user" : "root");

/** The command line as a user. */
const start = (user: User, ...args: string[]) =>
  Child.program([...users[user], ...bundle.command(args)], { env: { TMPDIR: "/tmp" } });

async function reportOf(user: User, ...args: string[]) {
  await using child = start(user, ...args, "--json-output");
  return await child.report();
}

const startReader = (user: User, name: string) =>
  start(user, ...["reader", name, "--buffer-size", "64KiB", "--timeout-ms", "0", "--json-output"]);
const startWriter = (user: User, name: string) =>
  start(user, ...["writer", name, "-n", "0", "--rate", "100", "--timeout-ms", "0", "--json-output"]);

async function flowing(name: string): Promise<void> {
  await bufferMade(name);
  const count = () => fieldOf(name, 8 * OiebWord.payloadReadCount) ?? 0n;
  const before = count();
  await eventually(() => count() > before + 3n);
}

async function expectTold(survivor: Child, code: string, since: number): Promise<void> {
  const { document } = await survivor.report();
  expect(document.error.code).toBe(code);
  expect(Date.now() - since).toBeLessThan(NOTICED_MS);
}

/** Nobody else takes a place or removes anything, whoever tries. */
async function expectTaken(name: string): Promise<void> {
  for (const user of ["root", "another user"] as const) {
    const [list, clean, reader, writer] = await Promise.all([
      reportOf(user, "list"),
      reportOf(user, "clean", name),
      reportOf(user, "reader", name, "--buffer-size", "4096"),
      reportOf(user, "writer", name, "--connect-timeout-ms", "100"),
    ]);
    const entry = list.document.buffers.find((one: { buffer_name: string }) => one.buffer_name === name);
    expect({ user, state: entry.state }).toEqual({ user, state: "live" });
    expect([clean.code, reader.code, writer.code]).toEqual([1, 1, 1]);
    expect(writer.document.error.code).toBe("WRITER_ALREADY_CONNECTED");
  }
}

/** Root removes what processes of this package left, whoever they belonged to; others what is theirs. */
async function expectCleaned(name: string, owner: User, cleaner: User = "root"): Promise<void> {
  if (owner === "root") {
    const { code, document } = await reportOf("another user", "clean", name);
    expect({ code, error: document.error.code }).toEqual({ code: 1, error: "PERMISSION_DENIED" });
  }
  expect((await reportOf(cleaner, "clean", name)).code).toBe(0);
  expect(existsSync(`/dev/shm/${name}`)).toBe(false);
}

const owners = [["root"], ["another user"]] as const;

describe.skipIf(!isRoot)("between root and another user, without CAP_LEASE,", () => {
  test.each(owners)("a reader of %s loses its place to nobody, and its death is told", async (owner) => {
    const name = uniqueName();
    await using reader = startReader(owner, name);
    await bufferMade(name);
    await using writer = startWriter(otherThan(owner), name);
    await flowing(name);
    await expectTaken(name);
    await expectTold(writer, "READER_DEAD", await kill(reader));
    await expectCleaned(name, owner);
  });

  test.each(owners)("a writer at the buffer of %s is told from a dead one", async (owner) => {
    const name = uniqueName();
    await using reader = startReader(owner, name);
    await bufferMade(name);
    await using writer = startWriter(otherThan(owner), name);
    await flowing(name);
    await writer.stop();
    await expectTaken(name);
    writer.resume();
    await flowing(name);
    await expectTold(reader, "WRITER_DEAD", await kill(writer));
  });

  test.each(owners)("a reader of version 1 of %s is told from a dead one", async (owner) => {
    const name = uniqueName();
    await using reader = await v1.reader(name, 65_536, { frames: 1e6, as: users[owner] });
    await using writer = startWriter(otherThan(owner), name);
    await eventually(() => (fieldOf(name, 8 * OiebWord.payloadWrittenCount) ?? 0n) > 3n);
    const since = await kill(reader);
    await expectTold(writer, "READER_DEAD", since);
    // Nobody else may ask whether it is still open.
    await expectCleaned(name, owner, owner);
  });

  test.each(owners)("a writer of version 1 at the buffer of %s is told from a dead one", async (owner) => {
    const name = uniqueName();
    await using reader = startReader(owner, name);
    await bufferMade(name);
    await using writer = v1.writer(name, { as: users[otherThan(owner)], frames: 10 });
    await writer.receive("wrote");
    await writer.stop();
    const second = await reportOf(owner, "writer", name, "--connect-timeout-ms", "100");
    expect(second.document.error.code).toBe("WRITER_ALREADY_CONNECTED");
    await expectTold(reader, "WRITER_DEAD", await kill(writer));
  });

  test("a user finds the dead writer of version 1 at root's buffer not visible, until its reader has settled", async () => {
    const name = uniqueName();
    using reader = new Reader(name, { metadataSize: 256, payloadSize: 65_536, mode: 0o666 });
    await using writer = v1.writer(name);
    await writer.receive("wrote");
    await kill(writer);
    const args = ["writer", name, "-n", "1", "--connect-timeout-ms"];
    const { code, document } = await reportOf("another user", ...args, "100");
    expect({ code, error: document.error.code }).toEqual({ code: 1, error: "WRITER_ALREADY_CONNECTED" });
    expect(`${document.error.message} ${document.error.hint}`).toContain("not visible from here");
    expect(`${document.error.message} ${document.error.hint}`).toContain("--force");
    expect(await rejectionOf(reader.readFrameAsync(60_000))).toMatchObject({ code: "WRITER_DEAD" });
    expect((await reportOf("another user", ...args, "10s")).code).toBe(0);
    reader.close();
  });
});

/** The words in front of a command that make it root of a user namespace, and process 1 of a container. */
const userNamespace = ["unshare", "--user", "--map-root-user", ...container.slice(1)];
const canBeRootThere = (user: User) =>
  isRoot && canContain && Bun.spawnSync([...users[user], ...userNamespace, "true"]).exitCode === 0;

describe.each(owners)("in a user namespace of %s", (owner) => {
  test.skipIf(!canBeRootThere(owner))(
    "a reader and a writer work with peers outside, and their deaths are told",
    async () => {
      const within = [...users[owner], ...userNamespace];
      const env = { TMPDIR: "/tmp" };
      for (const role of ["reader", "writer"] as const) {
        const name = uniqueName();
        const words = {
          reader: ["reader", name, "--buffer-size", "64KiB", "--timeout-ms", "0", "--json-output"],
          writer: ["writer", name, "-n", "0", "--rate", "100", "--timeout-ms", "0", "--json-output"],
        };
        await using reader =
          role === "reader"
            ? Child.program(bundle.command(words.reader), { within, env })
            : startReader("root", name);
        await bufferMade(name);
        await using writer =
          role === "writer"
            ? Child.program(bundle.command(words.writer), { within, env })
            : startWriter("root", name);
        await flowing(name);
        await expectTaken(name);
        const [inside, outside] = role === "reader" ? [reader, writer] : [writer, reader];
        await using clean = Child.program(bundle.command(["clean", name]), { within, env });
        expect((await clean.exited()).code).toBe(1);
        await expectTold(outside, `${role.toUpperCase()}_DEAD`, await kill(inside));
        if (role === "reader") await expectCleaned(name, owner);
      }
    },
  );
});
