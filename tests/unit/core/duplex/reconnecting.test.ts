// A client that goes on with the next server.

import { describe, expect, test } from "bun:test";
import {
  type ClientOptions,
  ClosedError,
  type IDuplexClient,
  PeerTimeoutError,
  WriterDeadError,
} from "../../../../src/core/index.ts";
import {
  bytesOf,
  eventually,
  rejectionOf,
  thrownBy,
  uniqueName,
  WAIT_LIMIT_MS,
} from "../../../support/buffers.ts";
import {
  answerTo,
  echo,
  factory,
  gate,
  received,
  receivedBytes,
  SMALL,
  serve,
  TINY,
  TINY_FRAMES,
  turns,
  wordOf,
} from "./served.ts";

function connect(channel: string, options: ClientOptions = {}): IDuplexClient {
  return factory.createClient(channel, { config: SMALL, reconnect: true, ...options });
}

const never = () => new Promise<never>(() => {});

describe("a client that reconnects", () => {
  test("rejects what is in flight when its server leaves, and asks the next one with the same metadata", async () => {
    const channel = uniqueName();
    const changes: string[] = [];
    const first = serve((request) => (request.sequence === 2 ? never() : request.data), { channel });
    using client = connect(channel, { onServer: (change) => void changes.push(change) });
    client.setMetadata(Buffer.from("who I am"));
    expect(await answerTo(client, bytesOf(1, 100))).toEqual(bytesOf(1, 100));
    const lost = rejectionOf(client.request(bytesOf(2, 100)));
    await eventually(() => first.server.statistics.requests === 2);
    first.server.stop();
    const error = await lost;
    expect(error).toBeInstanceOf(WriterDeadError);
    expect(error).toMatchObject({ code: "WRITER_DEAD", reason: "left", buffer: channel });
    expect(client.isServerConnected).toBe(false);
    expect(changes).toEqual(["left"]);

    const waiting = answerTo(client, bytesOf(3, 100));
    using second = serve(echo, { channel });
    expect(await waiting).toEqual(bytesOf(3, 100));
    expect(await answerTo(client, bytesOf(4, 100))).toEqual(bytesOf(4, 100));
    expect(second.metadata).toEqual(["who I am"]);
    expect([client.isServerConnected, client.honoursCancellation]).toEqual([true, true]);
    expect(changes).toEqual(["left", "came"]);
  });

  test("that has nothing in flight does not notice a server that is started again", async () => {
    const channel = uniqueName();
    const sizes = [SMALL.payloadSize, 2 * SMALL.payloadSize];
    let client: IDuplexClient | undefined;
    for (const payloadSize of sizes) {
      using _ = serve(echo, { channel, config: { ...SMALL, payloadSize } });
      client ??= connect(channel);
      expect(await answerTo(client, bytesOf(1, 100))).toEqual(bytesOf(1, 100));
      expect(client.maxRequestSize).toBe(payloadSize - 16);
    }
    client?.close();
  });

  test("hands out what its server has answered, and sends what it had no room for to the next one", async () => {
    const channel = uniqueName();
    const { opened, open } = gate();
    const first = serve((request) => (request.sequence <= 2 ? opened.then(() => request.data) : never()), {
      channel,
      config: TINY,
    });
    using client = connect(channel);
    const asked = Array.from({ length: TINY_FRAMES + 5 }, (_, i) => {
      const data = bytesOf(i, 100);
      return client.request(data, { timeoutMs: WAIT_LIMIT_MS }).then(
        (response) => {
          using _ = response;
          return response.toArray();
        },
        (error) => error.code,
      );
    });
    open();
    await eventually(() => first.server.statistics.requests === 3);
    // Two are answered, so two more have found room; the answers are unread until this turn ends.
    first.server.stop();
    using _ = serve(echo, { channel });
    const outcomes = await Promise.all(asked);
    for (const [i, outcome] of outcomes.entries()) {
      if (outcome !== "WRITER_DEAD") expect(outcome).toEqual(bytesOf(i, 100));
    }
    expect(outcomes.slice(0, 2)).toEqual([bytesOf(0, 100), bytesOf(1, 100)]);
    expect(outcomes.slice(-3)).toEqual([10, 11, 12].map((i) => bytesOf(i, 100)));
    expect(outcomes.filter((outcome) => outcome === "WRITER_DEAD").length).toBeGreaterThanOrEqual(
      TINY_FRAMES - 2,
    );
  });

  test("hands out what its server has answered, also if a new request finds that it has left", async () => {
    const channel = uniqueName();
    const { opened, open } = gate();
    const first = serve((request) => opened.then(() => request.data), { channel });
    using client = connect(channel);
    const answered = answerTo(client, bytesOf(1, 100));
    await eventually(() => first.server.statistics.requests === 1);
    open();
    // Without a turn of the event loop, in which the client would take the response.
    while (first.server.statistics.responses === 0) await undefined;
    first.server.stop();
    const next = answerTo(client, bytesOf(2, 100));
    expect(client.isServerConnected).toBe(false);
    expect(await answered).toEqual(bytesOf(1, 100));
    using _ = serve(echo, { channel });
    expect(await next).toEqual(bytesOf(2, 100));
  });

  test("leaves the channel to others while nobody waits for a server", async () => {
    const channel = uniqueName();
    const first = serve(echo, { channel });
    using client = connect(channel);
    first.server.stop();
    const late = await rejectionOf(client.request(bytesOf(1, 100), { timeoutMs: 20 }));
    expect(late).toBeInstanceOf(PeerTimeoutError);
    expect(late).toMatchObject({ message: `Channel "${channel}" has had no server for 20 ms.` });
    const aborted = client.request(bytesOf(1, 100), { signal: AbortSignal.timeout(20) });
    expect(await rejectionOf(aborted)).toMatchObject({ name: "TimeoutError" });

    using _ = serve(echo, { channel });
    await turns(20);
    expect(wordOf(channel, "request", "writerPid")).toBe(0n);
    {
      using other = await factory.connectClient(channel, { config: SMALL, connectTimeoutMs: WAIT_LIMIT_MS });
      expect(await answerTo(other, bytesOf(2, 100))).toEqual(bytesOf(2, 100));
    }
    expect(await answerTo(client, bytesOf(3, 100))).toEqual(bytesOf(3, 100));
  });

  test("closes while a request waits for a server", async () => {
    const channel = uniqueName();
    const first = serve(echo, { channel });
    const client = connect(channel);
    first.server.stop();
    const waiting = [1, 2].map((i) => rejectionOf(client.request(bytesOf(i, 100))));
    await eventually(() => !client.isServerConnected);
    client.close();
    for (const error of waiting) expect(await error).toBeInstanceOf(ClosedError);
    expect(thrownBy(() => client.sendRequest(bytesOf(1, 100)))).toBeInstanceOf(ClosedError);
    expect(await rejectionOf(client.request(bytesOf(1, 100)))).toBeInstanceOf(ClosedError);
    using _ = serve(echo, { channel });
    using other = factory.createClient(channel, { config: SMALL });
    expect(await answerTo(other, bytesOf(2, 100))).toEqual(bytesOf(2, 100));
  });

  test("says once that requests which were sent apart are lost, after what was answered", async () => {
    const channel = uniqueName();
    const first = serve((request) => (request.sequence === 3 ? never() : request.data), { channel });
    using client = connect(channel);
    for (let i = 1; i <= 3; i++) client.sendRequest(bytesOf(i, 100));
    await eventually(() => first.server.statistics.requests === 3);
    expect(await receivedBytes(client)).toEqual([1, bytesOf(1, 100)]);
    first.server.stop();
    // The answer to the second one would be lost with the connection.
    expect(thrownBy(() => client.sendRequest(bytesOf(4, 100)))).toMatchObject({ code: "WRITER_DEAD" });
    expect(await receivedBytes(client)).toEqual([2, bytesOf(2, 100)]);
    expect(thrownBy(() => client.receiveResponse(0))).toMatchObject({ code: "WRITER_DEAD", reason: "left" });

    using _ = serve(echo, { channel });
    expect(client.sendRequest(bytesOf(5, 100))).toBe(1);
    using response = await received(client);
    expect(response.toArray()).toEqual(bytesOf(5, 100));
  });

  test("loses an acquired request with its server", async () => {
    const channel = uniqueName();
    const first = serve(echo, { channel });
    using client = connect(channel);
    client.acquireRequestBuffer(100).buffer.fill(1);
    first.server.stop();
    client.checkServer();
    expect(thrownBy(() => client.commitRequest())).toMatchObject({ code: "WRITER_DEAD" });
    client.cancelRequestBuffer();
    expect(client.cancelRequest(1)).toBe(false);
  });
});
