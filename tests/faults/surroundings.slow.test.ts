// A wall clock that jumps, and limits of the process.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cFlags, compile, findCompiler, root } from "../../scripts/build-native.ts";
import { Reader, Writer } from "../../src/core/index.ts";
import { bytesOf, uniqueName } from "../support/buffers.ts";
import { fastest } from "../support/fastest.ts";
import { Child } from "../support/process.ts";

const RING = { metadataSize: 64, payloadSize: 1024 };
const peer = join(root, "tests", "faults", "fixtures", "peer.ts");
describe("when the wall clock jumps in the middle of a wait", () => {
  const WAIT_MS = 1000;
  const ACCURACY_MS = 50;
  let directory: string;
  let library: string;
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "zerobuffer-clock-"));
    library = join(directory, "clock.so");
    await compile(await findCompiler(), {
      sources: [join(import.meta.dir, "clock.c")],
      output: library,
      flags: [...cFlags, "-shared", "-fPIC", "-ldl"],
    });
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  test.each([
    ["read", 86_400],
    ["read", -86_400],
    ["read-async", 86_400],
    ["read-async", -86_400],
  ])("%s, by %d seconds, its timeout is as long as asked", async (how, jump) => {
    const name = uniqueName();
    const file = join(directory, uniqueName());
    const clock = [`LD_PRELOAD=${library}`, `CLOCK_FILE=${file}`, `CLOCK_JUMP=${jump}`];
    await using reader = Child.program(["env", ...clock, process.execPath, peer, "reader", name]);
    await reader.receive("ready");
    await reader.send({ do: "open", config: RING }).receive("did");
    const fastestMs = await fastest(WAIT_MS + ACCURACY_MS, async () => {
      rmSync(file, { force: true });
      const before = await reader.send({ do: "time" }).receive("did");
      await reader.send({ do: how, timeoutMs: WAIT_MS, waits: true }).receive("waiting");
      await Bun.sleep(WAIT_MS / 2);
      writeFileSync(file, "");
      const { sequence, tookMs } = await reader.receive("did");
      expect(sequence).toBeNull();
      const after = await reader.send({ do: "time" }).receive("did");
      // Half a minute of it is for the machine.
      expect(Math.abs(after.now - before.now - jump * 1000)).toBeLessThan(30_000);
      expect(tookMs).toBeGreaterThan(WAIT_MS - ACCURACY_MS);
      return tookMs;
    });
    console.log(`${how} after a jump of ${jump} s: ${fastestMs.toFixed(1)} ms of ${WAIT_MS}`);
    expect(fastestMs).toBeLessThan(WAIT_MS + ACCURACY_MS);
    await reader.succeed();
  });
});

describe("a limit of the process", () => {
  test.each([
    ["open files", "nofile", (used: number) => Array.from({ length: 12 }, (_, more) => used + more)],
    ["file size", "fsize", () => [0, 16, 31, 32, 4096]],
  ])("on %s brings a typed error or success, and nothing stays behind", async (_, limit, valuesOf) => {
    const seen = new Set<string>();
    await using probe = Child.program([process.execPath, peer, "reader", uniqueName()]);
    await probe.receive("ready");
    const { descriptors } = await probe.send({ do: "time" }).receive("did");
    await probe.succeed();
    for (const value of valuesOf(descriptors)) {
      const name = uniqueName();
      await using reader = Child.program([process.execPath, peer, "reader", name]);
      await reader.receive("ready");
      // From here on: starting the runtime needs more than the limit.
      Bun.spawnSync(["prlimit", `--pid=${reader.pid}`, `--${limit}=${value}:${value}`]);
      const answer = await reader.send({ do: "open", config: RING }).receiveAny();
      seen.add(answer.event === "did" ? "done" : answer.code);
      if (answer.event === "refused") expect(answer.code).toBe("RESOURCE_EXHAUSTED");
      reader.kill("SIGKILL");
      await reader.end();
      const next = new Reader(name, RING);
      const writer = new Writer(name);
      writer.writeFrame(bytesOf(1, 10));
      expect(next.readFrame(0).sequence).toBe(1);
      writer.close();
      next.close();
    }
    console.log(`${limit}: ${[...seen].join(", ")}`);
    expect(seen).toContain("RESOURCE_EXHAUSTED");
  });

  test("on address space brings a typed error for a buffer that does not fit it", async () => {
    const name = uniqueName();
    await using reader = Child.program([process.execPath, peer, "reader", name]);
    await reader.receive("ready");
    const used =
      Number(/^VmSize:\s+(\d+)/m.exec(await Bun.file(`/proc/${reader.pid}/status`).text())?.[1]) * 1024;
    const limit = used + 32 * 2 ** 20;
    Bun.spawnSync(["prlimit", `--pid=${reader.pid}`, `--as=${limit}:`]);
    const config = { metadataSize: 64, payloadSize: 256 * 2 ** 20 };
    expect(await reader.send({ do: "open", config }).receiveAny()).toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      message: `The shared memory of buffer "${name}" cannot be created: the address space of this process is limited to ${limit} bytes (ulimit -v).`,
    });
    // As the hint says: ulimit -S -v unlimited.
    Bun.spawnSync(["prlimit", `--pid=${reader.pid}`, "--as=unlimited:"]);
    expect((await reader.send({ do: "open", config }).receiveAny()).event).toBe("did");
    await reader.succeed();
  });
});
