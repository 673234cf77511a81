// What sides of a duplex channel, and relays, do that are killed in the middle of it.

import { expect } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../scripts/build-native.ts";
import {
  DuplexChannelFactory,
  type DuplexResponse,
  type Frame,
  type IDuplexClient,
  Reader,
  ReaderAlreadyConnectedError,
  Writer,
  WriterDeadError,
  ZeroBufferError,
} from "../../src/core/index.ts";
import { bytesOf, eventually, filesOfBuffers, WAIT_LIMIT_MS } from "../support/buffers.ts";
import type { Scenario, Stage } from "./stage.ts";

/** Small, so that frames wrap, fill it and find it full. */
const RING = { metadataSize: 64, payloadSize: 1024 };

const factory = DuplexChannelFactory.getInstance();
const peer = join(import.meta.dir, "fixtures", "channel-peer.ts");

/** What all servers here answer. */
const answerTo = (request: Frame) => request.toArray().reverse();

/** The server of a child that is a client: it sees that every request is whole. */
function serve(channel: string) {
  const server = factory.createImmutableServer(channel, RING);
  const wrong: string[] = [];
  server.onError = (error) => void wrong.push(error.message);
  server.start((request) => {
    if (Buffer.compare(request.data, bytesOf(request.sequence, request.size)) !== 0)
      wrong.push(`request ${request.sequence}`);
    return answerTo(request);
  });
  return Object.assign(server, { wrong });
}

function expectRight(response: DuplexResponse, sequence: number, size: number): void {
  using _ = response;
  expect([response.sequence, response.size]).toEqual([sequence, size]);
  expect(Buffer.compare(response.data, bytesOf(sequence, size).reverse())).toBe(0);
}

/** The next client of the channel connects at once, and is answered. */
async function expectTheNextClientToWork(stage: Stage): Promise<void> {
  const start = performance.now();
  using client = await factory.connectClient(stage.name, { config: RING, connectTimeoutMs: WAIT_LIMIT_MS });
  stage.noteTimeSince(start);
  for (const [index, size] of [10, 900].entries())
    expectRight(await client.request(bytesOf(index + 1, size)), index + 1, size);
}

function expectNothingOf(name: string): void {
  expect(filesOfBuffers().filter((path) => path.includes(name))).toEqual([]);
}

// ---- clients -------------------------------------------------------------------------------------------------------

/** A child that asks: whatever becomes of it, its server serves the next client. */
function asking(name: string, play: (stage: Stage) => Promise<void>): Scenario {
  return {
    name: `a client that ${name}`,
    program: (channel) => [peer, "client", channel],
    play: async (stage) => {
      const server = serve(stage.name);
      try {
        await stage.perform(async () => {
          stage.begin();
          if ((await stage.ask({ do: "open", config: RING })).event === "did") await play(stage);
          await stage.ask({ do: "close" });
        });
        await expectTheNextClientToWork(stage);
        expect(server.wrong).toEqual([]);
      } finally {
        server.stop();
      }
      expectNothingOf(stage.name);
    },
  };
}

/** Has the child do something that brings it responses, which have to be the right ones. */
async function askAndCheck(stage: Stage, instruction: { do: string; sizes?: number[] }): Promise<void> {
  const answer = await stage.ask(instruction);
  if (answer.event === "did") expect(answer.areRight).not.toContain(false);
}

const clients: Scenario[] = [
  asking("sends metadata and requests, one after another and several at once", async (stage) => {
    await stage.ask({ do: "metadata" });
    for (const sizes of [[100], [300, 200, 100], [1000]]) await askAndCheck(stage, { do: "ask", sizes });
  }),
  asking("takes requests back", async (stage) => {
    for (const sizes of [[133], [100, 133, 200, 133], [133, 133, 133, 50]]) {
      await askAndCheck(stage, { do: "cancel", sizes });
    }
  }),
  asking("sends requests and receives the responses later", async (stage) => {
    for (const size of [100, 200]) await stage.ask({ do: "send", size });
    for (let i = 0; i < 2; i++) await askAndCheck(stage, { do: "receive" });
  }),
];

// ---- servers -------------------------------------------------------------------------------------------------------

/** A child that answers: whatever becomes of it, no response is wrong, its client knows, and the next server works. */
function answering(name: string, play: (client: IDuplexClient) => Promise<void>): Scenario {
  return {
    name: `a server that ${name}`,
    program: (channel) => [peer, "server", channel],
    play: async (stage) => {
      await stage.perform(async () => {
        stage.begin();
        if ((await stage.ask({ do: "open", config: RING })).event === "did")
          await stage.untilGone(
            ["READER_DEAD", "WRITER_DEAD", "BUFFER_NOT_FOUND", "PEER_TIMEOUT"],
            async () => {
              using client = await factory.connectClient(stage.name, { config: RING });
              await play(client);
            },
          );
        await stage.ask({ do: "close" });
      });
      const next = stage.startNext(() => serve(stage.name));
      await expectTheNextClientToWork(stage);
      expect(next.wrong).toEqual([]);
      next.stop();
      expectNothingOf(stage.name);
    },
  };
}

const servers: Scenario[] = [
  answering("is told metadata and answers requests", async (client) => {
    client.setMetadata(Buffer.from("metadata"));
    let sequence = 0;
    for (const sizes of [[100], [300, 200, 100], [1000]]) {
      const first = sequence + 1;
      const requests = sizes.map((size) =>
        client.request(bytesOf(++sequence, size), { timeoutMs: WAIT_LIMIT_MS }),
      );
      for (const [index, response] of (await Promise.all(requests)).entries())
        expectRight(response, first + index, sizes[index] as number);
    }
  }),
  answering("is told that requests are cancelled", async (client) => {
    for (let sequence = 1; sequence < 9; sequence += 2) {
      // Its handler ends by its signal alone, and runs when the next request is answered.
      const cancellation = new AbortController();
      const { signal } = cancellation;
      const options = { timeoutMs: WAIT_LIMIT_MS, signal };
      const cancelled = client.request(bytesOf(sequence, 133), options).catch((error) => error);
      expectRight(
        await client.request(bytesOf(sequence + 1, 100), { timeoutMs: WAIT_LIMIT_MS }),
        sequence + 1,
        100,
      );
      cancellation.abort();
      const outcome = await cancelled;
      if (outcome !== signal.reason) throw outcome;
    }
  }),
  answering("waits for room for its responses", async (client) => {
    // Three responses fill the ring; the last one waits until they are received.
    const sizes = [300, 300, 300, 300];
    for (const [index, size] of sizes.entries()) client.sendRequest(bytesOf(index + 1, size));
    for (const [index, size] of sizes.entries()) {
      // In pieces, so that the death of the server is seen meanwhile.
      let response = client.receiveResponse(0);
      for (; !response.isValid; response = client.receiveResponse(0)) await Bun.sleep(1);
      expectRight(response, index + 1, size);
    }
  }),
];

// ---- relays --------------------------------------------------------------------------------------------------------

const PATIENCE = ["--timeout-ms", "60s", "--connect-timeout-ms", "60s"];
const SIZES = ["--buffer-size", `${RING.payloadSize}`, "--metadata-size", `${RING.metadataSize}`];

/** A child between two buffers: whatever becomes of it, no frame is wrong, and both its peers know. */
function relaying(name: string, options: string[]): Scenario {
  return {
    name: `a relay that ${name}`,
    program: (input) => [
      join(root, "src", "main.ts"),
      "relay",
      input,
      outputOf(input),
      ...SIZES,
      ...PATIENCE,
      ...options,
    ],
    play: async (stage) => {
      const output = outputOf(stage.name);
      const makesOutput = options.includes("--create-output");
      let display = makesOutput ? undefined : new Reader(output, RING);
      let written = 0;
      let shown = 0;
      let isTold = false;
      /** Takes the next frame out of the relay, if one comes in time; notes when there is no relay any more. */
      const show = async () => {
        try {
          using frame = await display!.readFrameAsync(250);
          if (!frame.isValid) return;
          expect(frame.sequence).toBe(++shown);
          expect(Buffer.compare(frame.data, bytesOf(shown, frame.size).reverse())).toBe(0);
        } catch (error) {
          if (!(error instanceof WriterDeadError)) throw error;
          isTold = true;
        }
      };
      const isGone = () => isTold || stage.child.isOver;
      try {
        await stage.untilGone(["READER_DEAD", "BUFFER_NOT_FOUND", "PEER_TIMEOUT"], async () => {
          using camera = await connect(stage);
          camera.setMetadata(Buffer.from("metadata"));
          for (const size of [100, 500, 300, 900]) {
            await camera.writeFrameAsync(bytesOf(written + 1, size));
            written++;
            display ??= await adopt(output, isGone);
            while (shown < written && !isGone()) await show();
            // That its reader has gone, a writer learns by writing.
            while (isGone()) await camera.writeFrameAsync(bytesOf(1, 500));
          }
        });
        const { code, signal } = await stage.child.end();
        if (signal !== "SIGKILL") expect([code, shown]).toEqual([0, 4]);
        if (display !== undefined) {
          // What the relay had passed on is still delivered, and then that it has gone, if it had come.
          const start = performance.now();
          for (let looks = 0; looks < (shown > 0 ? 10 : 1) && !isTold; looks++) await show();
          if (shown > 0) {
            expect(isTold).toBe(true);
            stage.noteTimeSince(start);
          }
          expect(shown).toBeLessThanOrEqual(written);
          expect(["", "metadata"]).toContain(Buffer.from(display.getMetadata()).toString());
        }
      } finally {
        display?.close();
      }
      stage.expectTheNextReaderToWork(output);
      stage.expectTheNextReaderToWork();
    },
  };
}

const outputOf = (input: string) => `${input}-shown`;

/** A writer of the relay's input, as soon as that is there. */
async function connect(stage: Stage): Promise<Writer> {
  for (;;) {
    try {
      return await Writer.connect(stage.name, { connectTimeoutMs: 100, writeTimeout: WAIT_LIMIT_MS });
    } catch (error) {
      if (stage.child.isOver || !(error instanceof ZeroBufferError)) throw error;
    }
  }
}

/** The reader that adopts the output that a relay makes, or makes one itself if the relay has gone before. */
async function adopt(output: string, isGone: () => boolean): Promise<Reader> {
  let reader: Reader | undefined;
  await eventually(() => {
    if (!isGone() && !existsSync(`/dev/shm/${output}`)) return false;
    try {
      reader = new Reader(output, RING);
    } catch (error) {
      // The relay is still making it.
      if (!(error instanceof ReaderAlreadyConnectedError)) throw error;
    }
    return reader !== undefined;
  });
  return reader as Reader;
}

const relays: Scenario[] = [
  relaying("passes frames on in reverse", ["--transform", "reverse"]),
  relaying("makes its output", ["--transform", "reverse", "--create-output"]),
];

/** All of them. But for cancellations, they reach no other fault points than those of readers and writers, in their order. */
export const channelScenarios: readonly Scenario[] = [...clients, ...servers, ...relays];
