// Duplex clients of version 1 at a server of ours (docs/protocol.md, section 9).

import { describe, expect, test } from "bun:test";
import { statSync } from "node:fs";
import { buffersOf } from "../../src/core/buffer/names.ts";
import { OiebWord } from "../../src/core/buffer/oieb.ts";
import { DuplexChannelFactory, type DuplexResponse } from "../../src/core/index.ts";
import { bytesOf, fieldOf, rejectionOf, uniqueName, WAIT_LIMIT_MS } from "../support/buffers.ts";
import { type Child, runJson } from "../support/process.ts";
import { endAll, kill, startDuplexClient, startDuplexServer } from "./peers.ts";
import { tokensOf, V1 } from "./v1.ts";

const v1 = await V1.build();
const PAYLOAD_SIZE = 65_536;

describe("a duplex client of version 1", () => {
  /** Once the server has gone on from the client before: meanwhile it has that one's place. */
  async function connected(channel: string): Promise<Child> {
    for (;;) {
      const client = v1.client(channel, PAYLOAD_SIZE, { frames: 5 });
      if ((await client.receiveAny()).event === "connected") return client;
      await client.exited();
    }
  }

  test.each([["response-first"], ["awaits-server"]])("that is one of %s is answered", async (manner) => {
    const channel = uniqueName();
    await using server = await startDuplexServer(channel);
    for (let round = 0; round < 3; round++) {
      await using client = v1.client(channel, PAYLOAD_SIZE, {
        frames: 20,
        manners: [manner, "wait-ms=5000"],
      });
      if (manner === "response-first") {
        await client.receive("made");
        client.write("\n");
      }
      await client.receive("connected");
      if (manner === "awaits-server") await client.receive("served");
      expect(await client.receive("asked")).toMatchObject({ answers: 20, wrong: 0, end: "enough" });
      await endAll(client);
    }
    await endAll(server);
  });

  test("that has made its response buffer and not connected yet meets no trace of a client of ours that gave up", async () => {
    const channel = uniqueName();
    await using server = await startDuplexServer(channel);
    await using first = v1.client(channel, PAYLOAD_SIZE, { frames: 20, manners: ["response-first"] });
    await first.receive("made");
    const args = ["--connect-timeout-ms", "300", "-n", "1"];
    const { code } = await runJson("duplex", "request", channel, "--buffer-size", "64KiB", ...args);
    expect(code).not.toBe(0);
    const request = `${channel}_request`;
    const metadata = fieldOf(request, 8 * OiebWord.metadataWrittenBytes);
    expect([tokensOf(request), fieldOf(request, 8 * OiebWord.writerPid), metadata]).toEqual([0, 0n, 0n]);
    first.write("\n");
    await first.receive("connected");
    expect(await first.receive("asked")).toMatchObject({ answers: 20, wrong: 0, end: "enough" });
    await endAll(first, server);
  });

  test.each([["ours"], ["version 1"]])(
    "or of ours that comes after one (%s) that was killed is served",
    async (kind) => {
      const channel = uniqueName();
      await using server = await startDuplexServer(channel);
      await using killed =
        kind === "ours" ? await startDuplexClient(channel) : v1.client(channel, PAYLOAD_SIZE, { frames: 5 });
      if (kind !== "ours") {
        await killed.receive("connected");
        await killed.receive("asked");
      }
      await kill(killed);
      for (let round = 0; round < 2; round++) {
        await using ours = await startDuplexClient(channel);
        await ours.send({ do: "ask", requests: 5, size: 100 }).receive("asking");
        expect(await ours.receive("asked")).toMatchObject({ answers: 5, wrong: [] });
        await endAll(ours);
        await using theirs = await connected(channel);
        expect(await theirs.receive("asked")).toMatchObject({ answers: 5, wrong: 0, end: "enough" });
        await endAll(theirs);
      }
      await endAll(server);
    },
  );
});

describe("a duplex server of version 1", () => {
  test("sees nothing of a cancellation, and its answer to that request is dropped", async () => {
    const channel = uniqueName();
    const names = buffersOf(channel);
    await using reader = await v1.reader(names.requests, PAYLOAD_SIZE, { frames: 3, largest: 100 });
    const config = { metadataSize: 0, payloadSize: PAYLOAD_SIZE };
    using client = DuplexChannelFactory.getInstance().createClient(channel, { config });
    expect(client.honoursCancellation).toBe(false);
    expect(statSync(`/dev/shm/${names.responses}`).size).toBe(128 + PAYLOAD_SIZE);
    const cancellation = new AbortController();
    const asked = [1, 2, 3].map((i) =>
      client.request(bytesOf(i, 100), {
        timeoutMs: WAIT_LIMIT_MS,
        ...(i === 2 && { signal: cancellation.signal }),
      }),
    );
    cancellation.abort();
    expect(await rejectionOf(asked[1] as Promise<unknown>)).toBe(cancellation.signal.reason);
    // It answers them all, in order.
    await using writer = v1.writer(names.responses, { frames: 3, largest: 100 });
    const sequences: number[] = [];
    for (const i of [0, 2]) {
      using response = (await asked[i]) as DuplexResponse;
      sequences.push(response.sequence);
    }
    expect(sequences).toEqual([1, 3]);
    client.close();
    await endAll(reader, writer);
  });
});
