// Responses that a client in another process reads in the request buffer: transfer, death, succession.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { OiebWord } from "../../src/core/buffer/oieb.ts";
import { eventually, fieldOf, uniqueName } from "../support/buffers.ts";
import type { Child } from "../support/process.ts";
import { endAll, kill, startDuplexClient, startDuplexServer, sweep } from "./peers.ts";

const SIZE = 100_000;
/** A ring for four requests of that size. */
const FOUR = { payloadSize: 400_064 };
const SHARING = { allowPayloadSharing: true };

const startServer = (channel: string, options: object = {}) =>
  startDuplexServer(channel, { ...FOUR, handling: "in-place", ...options });

/** How many bytes of the request buffer are in use. */
function inUse(channel: string): number {
  const field = (word: number) => fieldOf(`${channel}_request`, 8 * word) ?? 0n;
  return Number(field(OiebWord.payloadSize) - field(OiebWord.payloadFreeBytes));
}

/** Has a client ask, and all but perhaps the first few requests answered in place. */
async function expectShared(client: Child, requests: number, options: object = {}): Promise<void> {
  await client.send({ do: "ask", requests, size: SIZE, key: 0x5a, ...options }).receive("asking");
  const { answers, shared, wrong } = await client.receive("asked");
  expect({ answers, wrong }).toEqual({ answers: requests, wrong: [] });
  expect(shared).toBeGreaterThan(requests / 2);
}

/** Has a client hold three responses in the request buffer. */
async function hold(client: Child): Promise<void> {
  await expectShared(client, 10, { how: "blocking" });
  expect(await client.send({ do: "hold", requests: 3, size: SIZE }).receive("held")).toMatchObject({
    shared: 3,
  });
}

describe("responses in place", () => {
  test.each([
    { how: "blocking", inFlight: 1 },
    { how: "zero-copy", inFlight: 4 },
    { how: "async", inFlight: 1 },
    { how: "async", inFlight: 16 },
  ])("are whole ($how, $inFlight in flight)", async (how) => {
    const channel = uniqueName();
    await using server = await startServer(channel);
    await using client = await startDuplexClient(channel, SHARING);
    await expectShared(client, 1000, how);
    await eventually(() => inUse(channel) === 0);
    const { responses, responsesShared } = await server.send({ do: "report" }).receive("report");
    expect(responses).toBe(1000);
    expect(responsesShared).toBeGreaterThan(500);
    await endAll(client, server);
  });

  test("to requests that are cancelled make room for others, although nobody receives them", async () => {
    const channel = uniqueName();
    await using server = await startServer(channel);
    await using client = await startDuplexClient(channel, SHARING);
    await expectShared(client, 10, { how: "blocking" });
    await client.send({ do: "cancel", requests: 200, size: SIZE }).receive("cancelled");
    await expectShared(client, 10, { how: "blocking" });
    await endAll(client, server);
  });

  test("stay readable when the server is killed, and its memory goes with them", async () => {
    const channel = uniqueName();
    await using server = await startServer(channel);
    await using client = await startDuplexClient(channel, SHARING);
    await hold(client);
    await kill(server);
    expect(await client.send({ do: "look" }).receive("looked")).toEqual({ event: "looked", right: 3 });
    await client.send({ do: "close" }).receive("closed");
    expect(readFileSync(`/proc/${client.pid}/maps`, "utf8")).not.toContain(`${channel}_request`);
    await using next = await startServer(channel);
    await client.send({ do: "connect" }).receive("connected");
    await expectShared(client, 10);
    await endAll(client, next);
  });

  test.each(["leaves", "is killed"])(
    "of a client that %s go back to the server, and the next client has all the room",
    async (end) => {
      const channel = uniqueName();
      await using server = await startServer(channel);
      for (let round = 1; round <= 3; round++) {
        await using client = await startDuplexClient(channel, SHARING);
        await hold(client);
        expect(inUse(channel)).toBeGreaterThan(3 * SIZE);
        if (end === "leaves") await client.succeed();
        else await kill(client);
        // Needs all of the ring.
        await using next = await startDuplexClient(channel, SHARING);
        expect(await next.send({ do: "hold", requests: 4, size: SIZE }).receive("held")).toMatchObject({
          event: "held",
        });
        expect(await next.send({ do: "look" }).receive("looked")).toMatchObject({ right: 4 });
        await next.succeed();
      }
      await endAll(server);
      sweep();
    },
  );
});
