// What readers of version 1 leave behind, and what they take away.

import { describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Reader } from "../../src/core/index.ts";
import { bufferMade, eventually, uniqueName, WAIT_LIMIT_MS } from "../support/buffers.ts";
import { canContain, containerWithoutTmp } from "../support/containers.ts";
import { Child, run, runJson } from "../support/process.ts";
import { endAll, kill, PATIENT, startReader, startWriter } from "./peers.ts";
import { V1 } from "./v1.ts";

const v1 = await V1.build();
const stream = { largest: 1000, sizes: "mixed" } as const;

async function write(writer: Child, frames: number): Promise<void> {
  await writer.send({ do: "write", frames }).receive("writing");
  expect((await writer.receive("wrote")).error).toBeUndefined();
}

describe("semaphores that a reader in Python leaves", () => {
  test("are named by doctor and list, and taken by clean", async () => {
    const name = uniqueName();
    await using reader = await v1.reader(name, 4096, { manners: ["keeps-semaphores"] });
    await endAll(reader);
    const paths = [`/dev/shm/sem.sem-w-${name}`, `/dev/shm/sem.sem-r-${name}`];
    for (const path of paths) expect(existsSync(path)).toBe(true);
    for (const command of ["doctor", "list"]) {
      const { stdout } = await run(command);
      expect({ command, text: stdout.toString() }).toEqual({ command, text: expect.stringContaining(name) });
    }
    expect((await runJson("clean", name)).document.removed).toMatchObject([{ buffer_name: name }]);
    for (const path of paths) expect(existsSync(path)).toBe(false);
  });

  test("are no obstacle to the next reader of the name", async () => {
    const name = uniqueName();
    await using reader = await v1.reader(name, 4096, { manners: ["keeps-semaphores"] });
    await endAll(reader);
    using next = new Reader(name, { metadataSize: 256, payloadSize: 4096 });
    await using writer = await startWriter(name, stream);
    await write(writer, 1);
    expect(next.readFrame(WAIT_LIMIT_MS).isValid).toBe(true);
    await endAll(writer);
  });
});

describe("the lock of a reader in C#", () => {
  test("keeps ours out while it lives, and is swept with its buffer when it was killed", async () => {
    const name = uniqueName();
    const directory = mkdtempSync(join(tmpdir(), "zerobuffer-locks-"));
    try {
      const env = { TMPDIR: directory };
      await using reader = await v1.reader(name, 4096, { manners: ["locks-in-tmpdir"], env });
      await using refused = Child.cli(["reader", name, "--json-output"], { env });
      expect((await refused.report()).document.error.code).toBe("READER_ALREADY_CONNECTED");
      await kill(reader);
      await using other = Child.cli(["reader", uniqueName(), "--connect-timeout-ms", "1", "--json-output"], {
        env,
      });
      await other.report();
      expect(existsSync(`/dev/shm/${name}`)).toBe(false);
      expect(existsSync(join(directory, "zerobuffer", "locks", `${name}.lock`))).toBe(false);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

describe("a relay that makes its output", () => {
  test("says so where a reader of version 1 has removed that", async () => {
    const [raw, shown] = [uniqueName(), uniqueName()];
    await using relay = Child.cli(`relay ${raw} ${shown} --create-output --json-output -v ${PATIENT}`);
    await bufferMade(raw);
    await using writer = Child.cli(`writer ${raw} -n 3 --json-output ${PATIENT}`);
    await relay.logged(`Created buffer "${shown}"`);
    await using reader = await v1.reader(shown, 4096, { manners: ["replaces"] });
    expect((await writer.report()).code).toBe(0);
    const { code, document } = await relay.report();
    expect({ code, error: document.error }).toEqual({
      code: 4,
      error: {
        code: "CORRUPT_BUFFER",
        message: `Buffer "${shown}" was removed before a reader has adopted it.`,
        hint: expect.stringContaining("leave --create-output out"),
      },
    });
    await endAll(reader);
    // One lock file is left of those that show leftovers.
    expect((await run("clean", shown)).code).toBe(0);
  });
});

test.skipIf(!canContain)(
  "a reader of ours that starts while one of version 1 leaves, in another container, loses nothing to it",
  async () => {
    const name = uniqueName();
    await using leaving = await v1.reader(name, 4096, { manners: ["pauses"], within: containerWithoutTmp });
    await leaving.receive("read");
    await leaving.write("leave\n").receive("zeroed");
    const starting = startReader(name, { ...stream, payloadSize: 4096 });
    // It is about to look, or has done so.
    await eventually(() => existsSync(`/tmp/zerobuffer/${name}.lock`));
    leaving.write("\n");
    await leaving.exited();
    await using next = await starting;
    await using writer = await startWriter(name, stream);
    await next.send({ do: "read", frames: 10 }).receive("reading");
    await write(writer, 10);
    expect(await next.receive("read")).toMatchObject({ frames: 10, wrong: [], end: "enough" });
    await endAll(writer, next);
  },
);
