// Duplex channels between two processes: transfer, succession, death, memory.

import { describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DuplexChannelFactory } from "../../src/core/index.ts";
import { eventually, rejectionOf, uniqueName, WAIT_LIMIT_MS } from "../support/buffers.ts";
import { peakMemoryMiB } from "../support/proc.ts";
import { Child } from "../support/process.ts";
import { DUPLEX_SIZES, endAll, startDuplexClient, startDuplexServer, sweep } from "./peers.ts";

/** How soon the other side's end has to be noticed. */
const NOTICED_MS = 1000;
const MIB = 1024 * 1024;

/** Has a client ask, and all its requests answered. */
async function expectAnswers(
  client: Child,
  requests: number,
  size: number,
  options: object = {},
): Promise<void> {
  await client.send({ do: "ask", requests, size, ...options }).receive("asking");
  expect(await client.receive("asked")).toEqual({ event: "asked", answers: requests, wrong: [] });
}

describe("a server whose program throws whenever it is told something", () => {
  test("answers on, keeps nothing of its clients, stops, and each of these errors is uncaught", async () => {
    const channel = uniqueName();
    await using server = Child.fixture("duplex-thrower.ts", channel, DUPLEX_SIZES);
    const { failures } = await server.receive("ready");
    const factory = DuplexChannelFactory.getInstance();
    const uncaught: string[] = [];
    for (let round = 0; round < 2; round++) {
      using client = await factory.connectClient(channel, {
        config: DUPLEX_SIZES,
        connectTimeoutMs: WAIT_LIMIT_MS,
      });
      client.setMetadata(Buffer.from(`client ${round}`));
      // The second half fails asynchronously.
      for (let sequence = 1; sequence <= 4 * failures; sequence++) {
        const response = client.request(Buffer.of(sequence), { timeoutMs: WAIT_LIMIT_MS });
        if (sequence % 2 === 0) {
          // Nothing answers this one: the client goes on all the same.
          response.catch(() => {});
          continue;
        }
        using answered = await response;
        expect([answered.sequence, ...answered.data]).toEqual([sequence, sequence]);
      }
      client.close();
      // Both clients come, send metadata and leave; of each failure there is a warning and a report. One value has no
      // message that could be told.
      for (let i = 0; i < 3 + 4 * failures; i++) uncaught.push((await server.receive("uncaught")).message);
      expect(readFileSync(`/proc/${server.pid}/maps`, "utf8")).not.toContain(`${channel}_response`);
    }
    const reports = Array.from({ length: 2 * failures }, (_, index) => `onError ${2 * index + 2}`);
    for (const what of ["info", "info", "onMetadata", ...reports]) {
      expect({ what, times: uncaught.filter((message) => message === what).length }).toEqual({
        what,
        times: what === "info" ? 4 : 2,
      });
    }
    expect(uncaught.filter((message) => message === "warn" || message === "message").length).toBe(
      4 * failures,
    );
    expect(await server.send({ do: "stop" }).receive("stopped")).toMatchObject({ isRunning: false });
    expect(await server.receive("uncaught")).toMatchObject({ message: "onStop" });
    await endAll(server);
  });
});

test("a request that is cancelled while its server's thread is blocked is never handled", async () => {
  const channel = uniqueName();
  const directory = mkdtempSync(join(tmpdir(), "zerobuffer-gate-"));
  try {
    const gate = join(directory, "gate");
    await using server = await startDuplexServer(channel, { gate });
    using client = DuplexChannelFactory.getInstance().createClient(channel, { config: DUPLEX_SIZES });
    const cancellation = new AbortController();
    const first = client.request(Buffer.from("first"));
    const second = client.request(Buffer.from("second"), { signal: cancellation.signal });
    expect(await server.receive("handling")).toMatchObject({ sequence: 1 });
    cancellation.abort();
    expect(await rejectionOf(second)).toBe(cancellation.signal.reason);
    writeFileSync(gate, "");
    for (const response of [await first, await client.request(Buffer.from("third"))]) response.release();
    expect(await server.receive("handling")).toMatchObject({ sequence: 3 });
    expect(await server.send({ do: "report" }).receive("report")).toMatchObject({
      requests: 2,
      responses: 2,
      cancelled: 1,
    });
    client.close();
    await endAll(server);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

describe("requests between two processes", () => {
  test.each([
    { size: 1, requests: 5000 },
    { size: 1024, requests: 5000 },
    { size: 100 * 1024, requests: 500 },
    { size: 100 * MIB, requests: 3 },
  ])("of $size bytes are answered whole, one by one and several in flight", async ({ size, requests }) => {
    const channel = uniqueName();
    const payloadSize = Math.max(4 * MIB, 2 * size + 64);
    await using server = await startDuplexServer(channel, { payloadSize });
    await using client = await startDuplexClient(channel, { payloadSize });
    await expectAnswers(client, requests, size, { how: "blocking" });
    await expectAnswers(client, requests, size, {
      how: "zero-copy",
      inFlight: size === 100 * MIB ? 1 : 10,
    });
    await expectAnswers(client, requests, size, { how: "async" });
    await expectAnswers(client, requests, size, { how: "async", inFlight: 64 });
    expect(await server.send({ do: "report" }).receive("report")).toMatchObject({
      clients: 1,
      requests: 4 * requests,
      responses: 4 * requests,
      bytesOut: 4 * requests * size,
    });
    await endAll(client, server);
  });

  test("have the same bytes for an answer whether they are changed in place or not", async () => {
    for (const handling of ["xor", "in-place"]) {
      const channel = uniqueName();
      await using server = await startDuplexServer(channel, { handling });
      await using client = await startDuplexClient(channel);
      await expectAnswers(client, 500, 5000, { inFlight: 8, key: 0x5a });
      await endAll(client, server);
    }
  });

  test.each([
    // A copy of each would be 300 MiB. On a busy machine the server waits more often, and its waits need up to 65 MiB.
    { size: 64, payloadSize: 64 * 1024, inFlight: 64, requests: 1_000_000, limitMiB: 128 },
    // A copy of each would be 250 MiB.
    { size: 256 * 1024, payloadSize: 4 * MIB, inFlight: 1, requests: 1000, limitMiB: 32 },
  ])(
    "of $size bytes that are changed in place cost no memory in the server",
    async ({ size, payloadSize, inFlight, requests, limitMiB }) => {
      const channel = uniqueName();
      const fixture = `${import.meta.dir}/fixtures/duplex-server.ts`;
      const options = JSON.stringify({ payloadSize, handling: "in-place" });
      // Nothing that is allocated is ever freed.
      const command = ["env", "BUN_JSC_useGC=0", process.execPath, fixture, channel, options];
      await using server = Child.program(command);
      await server.receive("ready");
      await using client = await startDuplexClient(channel);
      const how = { how: "blocking", inFlight, key: 0x5a };
      await expectAnswers(client, 1000, size, how);
      const before = peakMemoryMiB(server.pid) as number;
      await expectAnswers(client, requests, size, how);
      const grownMiB = (peakMemoryMiB(server.pid) as number) - before;
      expect(grownMiB).toBeLessThan(limitMiB);
      await endAll(client, server);
    },
  );
});

describe("a client", () => {
  test.each([
    { how: "blocking", end: "is killed", answered: 0 },
    { how: "blocking", end: "is killed", answered: 5 },
    { how: "blocking", end: "stops", answered: 0 },
    { how: "blocking", end: "stops", answered: 5 },
    { how: "async", end: "is killed", answered: 0 },
    { how: "async", end: "is killed", answered: 5 },
    { how: "async", end: "stops", answered: 0 },
    { how: "async", end: "stops", answered: 5 },
  ])(
    "knows within a second that its server $end, after $answered responses ($how)",
    async ({ how, end, answered }) => {
      const channel = uniqueName();
      await using server = await startDuplexServer(channel, { silentFrom: answered + 1 });
      await using client = await startDuplexClient(channel);
      await client.send({ do: "ask", requests: 10, size: 100, how, inFlight: 10 }).receive("asking");
      for (let responses = -1; responses < answered; ) {
        ({ responses } = await server.send({ do: "report" }).receive("report"));
      }
      await client.sleeping();
      const endedAt = Date.now();
      if (end === "stops") {
        await server.send({ do: "stop" }).receive("stopped");
      } else {
        server.kill("SIGKILL");
        await server.end();
      }
      const { answers, wrong, error } = await client.receive("asked");
      expect({ answers, wrong }).toEqual({ answers: answered, wrong: [] });
      expect(["READER_DEAD", "WRITER_DEAD"]).toContain(error.code);
      expect(error.reason).toBe(end === "stops" ? "left" : "died");
      expect(error.at - endedAt).toBeLessThan(NOTICED_MS);
      await client.send({ do: "close" }).receive("closed");

      await using next = await startDuplexServer(channel);
      await client.send({ do: "connect" }).receive("connected");
      await expectAnswers(client, 100, 1000);
      await endAll(client, next);
      if (end === "stops") await endAll(server);
    },
  );

  test("that waits for its turn gets it as soon as the one before it leaves", async () => {
    const channel = uniqueName();
    await using server = await startDuplexServer(channel);
    await using first = await startDuplexClient(channel);
    await using second = Child.fixture("duplex-client.ts", channel, DUPLEX_SIZES);
    let [connected, waiting] = [first, second];
    for (let round = 1; round <= 30; round++) {
      await connected.send({ do: "close" }).receive("closed");
      await waiting.receive("connected");
      await expectAnswers(waiting, 1, 100);
      if (round < 30) connected.send({ do: "connect" });
      [connected, waiting] = [waiting, connected];
    }
    await endAll(first, second, server);
  });
});

describe("a server", () => {
  test("takes away what a client has left that was killed, and the next one finds nothing of it", async () => {
    const channel = uniqueName();
    await using server = await startDuplexServer(channel);
    const killed = await startDuplexClient(channel);
    await expectAnswers(killed, 10, 1000);
    killed.kill("SIGKILL");
    await killed.end();
    // The lock file goes last.
    await eventually(() => !existsSync(`/tmp/zerobuffer/${channel}_response.lock`));
    expect(existsSync(`/dev/shm/${channel}_response`)).toBe(false);
    await using next = await startDuplexClient(channel);
    await expectAnswers(next, 10, 1000);
    await endAll(next, server);
  });

  test.each(["leaves", "is killed"])(
    "goes on with the next client when one %s without reading its responses",
    async (end) => {
      const channel = uniqueName();
      await using server = await startDuplexServer(channel);
      for (let round = 1; round <= 3; round++) {
        // Its ring is too small for the responses, so the server waits for room when it goes.
        await using client = await startDuplexClient(channel, { payloadSize: 4096 });
        await client.send({ do: "metadata", text: `client ${round}` }).receive("told");
        await client.send({ do: "send", requests: 100, size: 1000 }).receive("sent");
        expect(await server.receive("metadata")).toMatchObject({ text: `client ${round}` });
        await expectStall(server, round);
        if (end === "leaves") {
          await client.succeed();
        } else {
          client.kill("SIGKILL");
          await client.end();
        }
        await using next = await startDuplexClient(channel);
        await expectAnswers(next, 1000, 1000, { inFlight: 10 });
        await next.succeed();
      }
      await endAll(server);
      sweep();
    },
  );

  /** Waits until one more of its responses than in the rounds before finds no room. */
  async function expectStall(server: Child, round: number): Promise<void> {
    for (let stalled = 0; stalled < round; ) {
      const { requests, responses } = await server.send({ do: "report" }).receive("report");
      stalled = requests - responses;
    }
  }
});
