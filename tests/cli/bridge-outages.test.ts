import { describe, expect, test } from "bun:test";
import { eventOf, numberOf, resultOf, Sink, Source, upTo } from "../support/bridge.ts";
import { bufferFull, uniqueName } from "../support/buffers.ts";
import { canServe, NatsServer, Stranger } from "../support/nats.ts";
import { Child } from "../support/process.ts";

const sizeOf = (number: number) => [1000, 2_500_000, 70_000][number % 3]!;
const sizes = (count: number, from = 1) => upTo(from + count - 1, from).map(sizeOf);

/** Starts a publisher, and waits until it has told that it is there. */
async function announced(server: NatsServer, name: string, start: () => Child): Promise<Child> {
  await using stranger = await Stranger.connect(server);
  const messages = stranger.connection.subscribe(`zerobuffer.${name}._zb.metadata`, { max: 1 });
  await stranger.connection.flush();
  const child = start();
  for await (const _ of messages);
  return child;
}

describe.skipIf(!canServe)("while the broker is away", () => {
  test("the publisher keeps frames, sends again what may be lost, and every frame is received or counted as lost", async () => {
    await using server = await NatsServer.start();
    const name = uniqueName();
    await using sink = await (await Sink.start(server, name)).listens();
    await using source = await Source.start(server, [], { name, metadata: "about" });
    const all = sink.numbers(sizeOf);
    const written = source.write(sizes(60));
    await eventOf(sink.child, "peer", { role: "writer", change: "came" });
    await server.kill();
    await eventOf(source.child, "warning", {});
    // The ring is full, and its writer waits: nothing is dropped.
    await bufferFull(name, 2_500_000);
    await server.restart();
    await written;
    const published = await source.end();
    expect(published.code).toBe(0);
    expect(published.result).toMatchObject({ frames_published: 60, frames_dropped: 0, outages: 1 });
    const numbers = await all;
    expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b));
    const { code, result } = await resultOf(sink.child);
    expect(code).toBe(0);
    expect(result).toMatchObject({
      frames_received: numbers.length,
      outages: 1,
      publishers: 1,
      metadata_size: 5,
    });
    expect(result.frames_received + result.frames_lost).toBe(60);
  });

  test("a publisher with --on-outage drop drops what comes, and counts it", async () => {
    await using server = await NatsServer.start();
    const name = uniqueName();
    await using sink = await (await Sink.start(server, name)).listens();
    await using source = await Source.start(server, ["--on-outage", "drop"], { name, metadata: "about" });
    await source.write(sizes(3));
    expect(await sink.numbers(sizeOf, 3)).toEqual([1, 2, 3]);
    await server.kill();
    await eventOf(source.child, "warning");
    // More than the ring holds.
    await source.write(sizes(30, 4), 4);
    await server.restart();
    await eventOf(source.child, "warning");
    // What comes before the subscribers are back is dropped as well.
    let last = 33;
    let isBack = false;
    const first = sink.next().then((frame) => {
      isBack = true;
      return numberOf(frame);
    });
    for (; !isBack; await Bun.sleep(10)) await source.write(sizes(1, ++last), last);
    const dropped = (await first) - 4;
    expect(dropped).toBeGreaterThanOrEqual(30);
    const received = sink.numbers(sizeOf);
    const { code, result } = await source.end();
    expect(code).toBe(0);
    expect(result).toMatchObject({
      frames_published: last - dropped,
      frames_dropped: dropped,
      frames_resent: 0,
      outages: 1,
    });
    expect(await received).toEqual(upTo(last, dropped + 5));
    expect(await resultOf(sink.child)).toMatchObject({
      code: 0,
      result: { frames_received: last - dropped, frames_lost: 0 },
    });
  });

  test.each([["wait"], ["drop"]])(
    "the end is told when the subscribers are back, with --on-outage %s",
    async (onOutage) => {
      await using server = await NatsServer.start();
      const name = uniqueName();
      await using sink = await (await Sink.start(server, name)).listens();
      await using source = await Source.start(server, ["--on-outage", onOutage], { name });
      await source.write(sizes(3));
      expect(await sink.numbers(sizeOf, 3)).toEqual([1, 2, 3]);
      await sink.child.stop();
      await server.kill();
      await eventOf(source.child, "warning");
      source.writer.close();
      await server.restart();
      await eventOf(source.child, "warning");
      sink.child.resume();
      expect(await sink.numbers(sizeOf)).toEqual([]);
      expect(await resultOf(sink.child)).toMatchObject({ code: 0, result: { frames_lost: 0, outages: 1 } });
      expect(await resultOf(source.child)).toMatchObject({ code: 0, result: { frames_published: 3 } });
    },
  );

  test.each([["file"], ["memory"]])(
    "a stream in a %s loses nothing that the publisher still has",
    async (storage) => {
      await using server = await NatsServer.start();
      const name = uniqueName();
      const stream = ["--stream", name];
      const count = 60;
      await using source = await Source.start(server, [...stream, "--stream-storage", storage], { name });
      await using sink = await (
        await Sink.start(server, name, [...stream, "--durable", "me", "--start", "first"])
      ).listens();
      const all = sink.numbers(sizeOf);
      const written = source.write(sizes(count));
      await eventOf(sink.child, "peer", { role: "writer", change: "came" });
      await server.kill();
      await eventOf(source.child, "warning");
      await server.restart();
      await written;
      const published = await source.end();
      expect(published).toMatchObject({ code: 0, result: { frames_published: count, outages: 1 } });
      const numbers = await all;
      const { code, result } = await resultOf(sink.child);
      expect(code).toBe(0);
      expect(result).toMatchObject({ outages: 1, frames_torn: expect.any(Number) });
      if (storage === "file") {
        expect(numbers).toEqual(upTo(count));
        expect(result).toMatchObject({ frames_received: count, frames_lost: 0, is_shared: false });
      } else {
        // What the server alone had is gone.
        expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b));
        expect(result.frames_received + result.frames_lost).toBe(count);
      }
    },
  );

  test("both sides say so, and a signal ends them at once", async () => {
    await using server = await NatsServer.start();
    const name = uniqueName();
    await using sink = await (await Sink.start(server, name)).listens();
    await using source = await Source.start(server, [], { name });
    await source.write(sizes(3));
    expect(await sink.numbers(sizeOf, 3)).toEqual([1, 2, 3]);
    const silent = uniqueName();
    await using human = await announced(server, silent, () =>
      Child.cli(["bridge", "publish", silent, "--buffer-size", "4096", "--server", server.url]),
    );
    await server.kill();
    await human.logged(`warn: The NATS server 127.0.0.1:${server.port} has gone.`);
    await eventOf(source.child, "warning");
    await eventOf(sink.child, "warning");
    await source.write([1000, 1000], 4);
    human.kill("SIGINT");
    expect((await human.exited()).code).toBe(130);
    for (const { child } of [source, sink]) {
      child.kill("SIGINT");
      expect((await resultOf(child)).code).toBe(130);
    }
  });
});
