// Containers that share /dev/shm: each subject and each fate once. All cases are in containers.slow.test.ts.

import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { Reader } from "../../src/core/index.ts";
import { inspectBuffer, Places } from "../../src/core/inspection.ts";
import { uniqueName } from "../support/buffers.ts";
import {
  beside,
  canContain,
  container,
  containerWithoutTmp,
  Namespace,
  numbersOf,
} from "../support/containers.ts";
import { Child, run, runJson } from "../support/process.ts";
import { fewCases, playCase } from "./matrix.ts";
import { endAll, kill, startDuplexClient, startDuplexServer, startReader, startWriter } from "./peers.ts";
import { V1 } from "./v1.ts";

const v1 = await V1.build();
const stream = { largest: 1000, sizes: "mixed", payloadSize: 65_536 } as const;

describe.skipIf(!canContain)("judged right:", () => {
  test.each(fewCases.map((one) => [one.title, one] as const))("%s", async (_, one) => playCase(v1, one));
});

describe.skipIf(!canContain)("in containers", () => {
  test("another process with the pid of one that is gone is found by those who look again and again", async () => {
    const name = uniqueName();
    using reader = new Reader(name, { payloadSize: 65_536 });
    await using namespace = await Namespace.start();
    const places = new Places();
    const writerSeen = () => {
      places.beginLook();
      return inspectBuffer(name, places)?.snapshot().writer;
    };
    const found = [];
    for (let round = 0; round < 2; round++) {
      await using writer = namespace.fixture(70, "writer.ts", name, { largest: 1000, sizes: "same" });
      await writer.receive("connected");
      const first = writerSeen();
      expect([first?.pid, first?.alive, numbersOf(first?.localPid ?? 0).at(-1)]).toEqual([70, true, 70]);
      expect(writerSeen()).toEqual(first);
      found.push(first?.localPid);
      process.kill(first?.localPid ?? 0, "SIGKILL");
      await writer.exited();
    }
    expect(writerSeen()).toMatchObject({ pid: 70, localPid: null, alive: false });
    expect(new Set(found).size).toBe(2);
    expect(reader.name).toBe(name);
  });

  test("a reader and a writer of version 1 keep their buffer, which goes once both are killed", async () => {
    const name = uniqueName();
    await using reader = await v1.reader(name, 4096, { within: containerWithoutTmp });
    await using writer = v1.writer(name, { within: containerWithoutTmp });
    await writer.receive("wrote");
    await reader.receive("read");
    for (const args of [["clean"], ["clean", name], ["clean", "--dry-run"]]) {
      const { document } = await runJson(...args);
      expect(document).toMatchObject({ removed: [], left: [{ buffer_name: name }] });
    }
    const { buffers } = (await runJson("list")).document;
    expect(buffers).toContainEqual(expect.objectContaining({ buffer_name: name, state: "live" }));
    const second = await runJson("writer", name, "--connect-timeout-ms", "100");
    expect(second.document.error).toMatchObject({
      code: "WRITER_ALREADY_CONNECTED",
      message: expect.stringContaining("not visible from here"),
    });
    expect((await run("reader", name, "--buffer-size", "4096")).code).toBe(4);
    // A reader that starts sweeps by the same rule.
    await using sweeper = await startReader(uniqueName(), stream);
    await endAll(sweeper);
    writer.write("5\n");
    reader.write("5\n");
    expect(await reader.receive("read")).toMatchObject({ frames: 5, wrong: 0, end: "enough" });
    await kill(writer);
    expect((await run("clean", name)).code).toBe(1);
    await kill(reader);
    expect((await run("clean", name)).code).toBe(0);
    expect(existsSync(`/dev/shm/${name}`)).toBe(false);
  });

  test("each process is named as what it is from where one looks", async () => {
    const name = uniqueName();
    await using reader = await startReader(name, stream, container);
    await using writer = await startWriter(name, stream);
    const line = async (within: readonly string[]) => {
      await using list = Child.cli("list", { within });
      const lines = (await list.exited()).stdout.toString().split("\n");
      return lines.find((line) => line.startsWith(`${name} `));
    };
    expect(await line([])).toContain(`1 of another container (host pid ${reader.pid})`);
    expect(await line(beside(reader))).toContain(`${writer.pid}, not visible from here`);
    const elsewhere = await line(container);
    expect(elsewhere).toContain("1, not visible from here");
    expect(elsewhere).toContain(`${writer.pid}, not visible from here`);
    await endAll(writer, reader);
  });

  test("a reader that was killed comes back as process 1 of the next container, beside its idle writer", async () => {
    const name = uniqueName();
    await using killed = await startReader(name, stream, containerWithoutTmp);
    await using writer = await startWriter(name, stream, containerWithoutTmp);
    await kill(killed);
    await using next = await startReader(name, stream, containerWithoutTmp);
    await writer.send({ do: "write", frames: 1e9 }).receive("writing");
    expect((await writer.receive("wrote")).error).toMatchObject({ code: "READER_DEAD", reason: "died" });
    await endAll(writer);
    await using second = await startWriter(name, stream, containerWithoutTmp);
    await next.send({ do: "read", frames: 10 }).receive("reading");
    await second.send({ do: "write", frames: 10 }).receive("writing");
    expect(await next.receive("read")).toMatchObject({ frames: 10, wrong: [], end: "enough" });
    await endAll(second, next);
  });

  test("a duplex server answers one client after another, each of them process 1, whether they leave or are killed", async () => {
    const channel = uniqueName();
    await using server = await startDuplexServer(channel, {}, containerWithoutTmp);
    for (const end of ["is killed", "leaves", "is killed", "leaves"]) {
      await using client = await startDuplexClient(channel, {}, containerWithoutTmp);
      await client.send({ do: "ask", requests: 20, size: 100, inFlight: 4 }).receive("asking");
      expect(await client.receive("asked")).toMatchObject({ answers: 20, wrong: [] });
      if (end === "leaves") await endAll(client);
      else await kill(client);
    }
    await using theirs = v1.client(channel, stream.payloadSize, { frames: 5, within: containerWithoutTmp });
    await theirs.receive("connected");
    expect(await theirs.receive("asked")).toMatchObject({ answers: 5, wrong: 0, end: "enough" });
    await endAll(theirs, server);
  });
});
