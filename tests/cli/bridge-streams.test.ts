import { describe, expect, test } from "bun:test";
import { Reader } from "../../src/core/index.ts";
import { frameOf, resultOf, Sink, Source, startBridge, upTo } from "../support/bridge.ts";
import { uniqueName } from "../support/buffers.ts";
import { canServe, NatsServer, Stranger } from "../support/nats.ts";

/** From a byte to frames in several parts. */
const sizeOf = (number: number) => [1000, 2_500_000, 70_000][number % 3]!;
const sizes = (count: number, from = 1) => upTo(from + count - 1, from).map(sizeOf);

/** Publishes frames to a stream, to the end. */
async function keep(server: NatsServer, name: string, count: number, from = 1, ...args: string[]) {
  await using source = await Source.start(server, ["--stream", name, ...args], {
    name,
    metadata: `from ${from}`,
  });
  await source.write(sizes(count, from), from);
  const published = await source.end();
  expect(published).toMatchObject({
    code: 0,
    result: { frames_published: count, frames_resent: 0, stream: name },
  });
}

/** Reads a stream with a subscriber, to its end: the numbers of the frames, and the result. */
async function take(server: NatsServer, name: string, ...args: string[]) {
  await using sink = await Sink.start(server, name, ["--stream", name, ...args]);
  const numbers = await sink.numbers(sizeOf);
  return { numbers, metadata: sink.metadata, ...(await resultOf(sink.child)) };
}

describe.skipIf(!canServe)("a stream", () => {
  test("keeps frames and metadata for those who come later, from wherever they start", async () => {
    await using server = await NatsServer.start();
    const name = uniqueName();
    await keep(server, name, 20);
    const all = await take(server, name, "--start", "first");
    expect(all).toMatchObject({ code: 0, numbers: upTo(20), metadata: "from 1" });
    expect(all.result).toMatchObject({
      frames_received: 20,
      frames_lost: 0,
      frames_duplicate: 0,
      is_shared: false,
    });
    // The last one has three parts, but for the headers of messages.
    expect(await take(server, name, "--start", "last")).toMatchObject({ numbers: [20], metadata: "from 1" });
    // Message 1 is that there is a publisher, 2 the metadata, 3 to 5 frame 1, 6 frame 2, 7 frame 3.
    expect(await take(server, name, "--start", "6")).toMatchObject({
      numbers: upTo(20, 2),
      metadata: "from 1",
    });
    const middle = await take(server, name, "--start", "4");
    expect(middle.numbers).toEqual(upTo(20, 2));
    expect(middle.result).toMatchObject({ frames_lost: 0, frames_torn: 0 });
    const now = new Date().toISOString();
    await keep(server, name, 5, 21);
    expect(await take(server, name, "--start", now)).toMatchObject({
      numbers: upTo(25, 21),
      metadata: "from 21",
    });
    // What belongs to the frames, not what came last.
    expect(await take(server, name, "--start", "6", "-n", "2")).toMatchObject({
      numbers: [2, 3],
      metadata: "from 1",
    });
    await using sink = await (await Sink.start(server, name, ["--stream", name])).listens();
    await keep(server, name, 5, 26);
    expect(await sink.numbers(sizeOf)).toEqual(upTo(30, 26));
    expect((await resultOf(sink.child)).code).toBe(0);
  });

  test("knows where a durable subscriber stopped, even if it was killed", async () => {
    await using server = await NatsServer.start();
    const name = uniqueName();
    await keep(server, name, 40);
    const durable = ["--durable", "archive"];
    expect(await take(server, name, ...durable, "--start", "first", "-n", "10")).toMatchObject({
      numbers: upTo(10),
    });
    const numbers: number[] = [];
    using reader = new Reader(uniqueName(), { payloadSize: 6 * 2 ** 20, metadataSize: 64 });
    for (let end = 16; end <= 28; end += 6) {
      await using sink = await Sink.start(server, name, ["--stream", name, ...durable], { reader });
      numbers.push(...(await sink.numbers(sizeOf, Math.max(1, end - 10 - numbers.length))));
      sink.child.kill("SIGKILL");
      // What it has written is there, whatever it was doing.
      numbers.push(...(await sink.numbers(sizeOf)));
      expect(sink.metadata).toBe("from 1");
    }
    const rest = await take(server, name, ...durable);
    expect(rest).toMatchObject({ code: 0, result: { frames_lost: 0 } });
    numbers.push(...rest.numbers);
    // A frame comes again only if the subscriber was killed after it had written it, and before the server knew.
    const again = numbers.filter((number, i) => number === numbers[i - 1]);
    expect(again.length).toBeLessThanOrEqual(3);
    expect(numbers.filter((number, i) => number !== numbers[i - 1])).toEqual(upTo(40, 11));
    await keep(server, name, 3, 41);
    expect(await take(server, name, ...durable)).toMatchObject({
      numbers: upTo(43, 41),
      metadata: "from 41",
    });
  });

  test("holds the frames of a publisher that was killed, and those of the next one", async () => {
    await using server = await NatsServer.start();
    const name = uniqueName();
    await using sink = await Sink.start(server, name, ["--stream", name, "--start", "first"]);
    const all = sink.numbers(sizeOf);
    {
      await using source = await Source.start(server, ["--stream", name], { name, metadata: "from 4" });
      await using stranger = await Stranger.connect(server);
      const stored = stranger.connection.subscribe(`zerobuffer.${name}`, { max: 1 + 3 + 1 });
      await source.write(sizes(3));
      for await (const _ of stored);
      source.child.kill("SIGKILL");
      await source.child.exited();
    }
    await keep(server, name, 4, 4);

    expect(await all).toEqual(upTo(7));
    expect(await resultOf(sink.child)).toMatchObject({
      code: 0,
      result: { frames_received: 7, frames_lost: 0, frames_refused: 0, publishers: 2 },
    });
  });

  test("waits for a subscriber whose buffer is full, which keeps little", async () => {
    await using server = await NatsServer.start();
    const name = uniqueName();
    const count = 60;
    await using source = await Source.start(server, ["--stream", name], { name });
    await source.write(Array<number>(count).fill(2_500_000));
    expect((await source.end()).code).toBe(0);
    const args = ["--stream", name, "--start", "first", "--timeout-ms", "0"];
    await using sink = await (await Sink.start(server, name, args)).listens();
    expect(await sink.numbers(() => 2_500_000)).toEqual(upTo(count));
    expect((await resultOf(sink.child)).result).toMatchObject({ frames_received: count, frames_dropped: 0 });
  });

  test("whose durable consumer two subscribers use: both tell that frames are torn, and why", async () => {
    await using server = await NatsServer.start();
    const name = uniqueName();
    const args = ["--stream", name, "--durable", "shared", "-v"];
    await using source = await Source.start(server, ["--stream", name], { name });
    await using first = await (await Sink.start(server, name, args)).listens();
    await first.child.logged("Reading stream");
    await using second = await (await Sink.start(server, name, args)).listens();
    const received = Promise.all([first.numbers(sizeOf), second.numbers(sizeOf)]);
    await source.write(sizes(30));
    await Promise.all([first.child.logged("Another subscriber"), second.child.logged("Another subscriber")]);
    source.writer.close();
    expect((await resultOf(source.child)).code).toBe(0);
    // One of them gets the end.
    await Promise.any([first, second].map((sink) => sink.child.exited()));
    for (const sink of [first, second]) sink.child.kill("SIGINT");
    const results = await Promise.all([first, second].map((sink) => resultOf(sink.child)));
    expect(results.some(({ result }) => result.frames_torn > 0)).toBe(true);
    for (const { result } of results) {
      expect(result).toMatchObject({ is_shared: true, frames_lost: 0 });
      expect(result.errors[0]).toContain('Another subscriber used the durable consumer "shared"');
    }
    await received;
  });

  test("that cannot be had is an error with a hint", async () => {
    await using without = await NatsServer.start({
      config: "accounts { A { users [ { user: a } ] } }\nno_auth_user: a",
    });
    const publish = (server: NatsServer, ...args: string[]) =>
      startBridge(server, ["publish", uniqueName(), "--buffer-size", "4MiB", ...args]);
    {
      await using child = publish(without, "--stream", "s");
      expect(await resultOf(child)).toMatchObject({
        code: 2,
        result: { error: { code: "IO_ERROR", hint: expect.stringContaining("nats-server -js") } },
      });
    }
    const limits = "jetstream: { max_file: 1MB, max_mem: 1MB }";
    await using server = await NatsServer.start({
      config: `accounts { A { ${limits}, users [ { user: a } ] } }\nno_auth_user: a`,
    });
    {
      await using child = publish(server, "--stream", "s", "--stream-max-bytes", "1GB");
      expect(await resultOf(child)).toMatchObject({
        code: 1,
        result: {
          error: { code: "RESOURCE_EXHAUSTED", hint: expect.stringContaining("--stream-max-bytes") },
        },
      });
    }
    {
      await using child = publish(server, "--stream", "one", "--subject", "same", "-v");
      await child.logged('Made stream "one"');
      await using source = await Source.start(server, ["--stream", "two"], { name: "same-name" });
      await source.writer.writeFrameAsync(frameOf(1, 2_000_000));
      expect(await resultOf(source.child)).toMatchObject({
        code: 1,
        result: {
          error: { code: "RESOURCE_EXHAUSTED", message: expect.stringContaining("JetStream refuses") },
        },
      });
      child.kill("SIGINT");
      expect((await resultOf(child)).code).toBe(130);
    }
    {
      await using child = publish(server, "--stream", "three", "--subject", "same");
      expect(await resultOf(child)).toMatchObject({
        code: 2,
        result: {
          error: {
            code: "IO_ERROR",
            message: expect.stringContaining("Another stream keeps the same subject"),
          },
        },
      });
    }
    {
      await using child = publish(server, "--stream", "one", "--subject", "other");
      expect(await resultOf(child)).toMatchObject({
        code: 2,
        result: {
          error: { code: "IO_ERROR", message: expect.stringContaining("does not keep the subject other") },
        },
      });
    }
    {
      using reader = new Reader(uniqueName(), { payloadSize: 4096, metadataSize: 64 });
      await using child = startBridge(server, [
        "subscribe",
        reader.name,
        "--stream",
        "none",
        "--connect-timeout-ms",
        "1",
      ]);
      expect(await resultOf(child)).toMatchObject({
        code: 1,
        result: { error: { code: "PEER_TIMEOUT", message: expect.stringContaining('no stream "none"') } },
      });
    }
  });
});
