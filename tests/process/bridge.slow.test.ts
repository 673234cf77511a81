// Bridges for minutes: many frames, kills, stops, and hosts of their own.
//
// ZB_FRAMES says how many frames of mixed sizes (default 100,000), ZB_SECONDS how long pictures are sent (default 60), ZB_SEED
// varies the sizes and the times.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { Reader, WriterDeadError } from "../../src/core/index.ts";
import { eventOf, frameOf, RING, resultOf, Sink, Source, startBridge, upTo } from "../support/bridge.ts";
import { uniqueName, WAIT_LIMIT_MS } from "../support/buffers.ts";
import { Hosts } from "../support/hosts.ts";
import { canServe, NatsServer } from "../support/nats.ts";
import { processorTimeMs } from "../support/proc.ts";
import { Child } from "../support/process.ts";
import { option, Random } from "../support/slow-options.ts";

if (!canServe) throw new Error("nats-server is not installed");

const frames = option("ZB_FRAMES", 100_000);
const seconds = option("ZB_SECONDS", 60);
const seed = option("ZB_SEED", (Math.random() * 2 ** 32) >>> 0);
console.log(`seed ${seed}`);

const MIB = 2 ** 20;
/** As long as it takes: each wait has a limit of its own. */
const NO_LIMIT = 30 * 60_000;
const LARGEST = 20 * MIB;
const PICTURE = 3_110_400;

/** From 1 B to 20 MiB: most are small, one of a thousand is up to the largest. */
function mixedSizes(count: number, random: Random): number[] {
  return upTo(count).map((number) => {
    const luck = random.below(1000);
    const most = luck < 1 ? LARGEST : luck < 10 ? MIB : luck < 100 ? 64 * 1024 : 1024;
    return number === 1 ? 1 : number === 2 ? LARGEST : 1 + Math.floor(random.below(most));
  });
}

const noise = frameOf(1, 4 * MIB - 1);

/** Memory of its own that a process has, in MiB: without rings and files. */
function ownMemoryMiB(pid: number): number {
  const kib = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1];
  return Number(kib ?? 0) / 1024;
}

/** Watches how much memory of its own a process has at most. */
class MemoryWatch implements Disposable {
  peakMiB = 0;
  readonly #timer: Timer;

  constructor(pid: number) {
    this.#timer = setInterval(() => {
      try {
        this.peakMiB = Math.max(this.peakMiB, ownMemoryMiB(pid));
      } catch {
        // It has ended.
      }
    }, 20);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

/** Reads frames to the end of their writer: their hash, and how many. `note` is called for each. */
async function digest(reader: Reader, note: (size: number) => void) {
  const hasher = new Bun.CryptoHasher("sha256");
  let count = 0;
  try {
    for (;;) {
      using frame = await reader.readFrameAsync(WAIT_LIMIT_MS);
      if (!frame.isValid) throw new Error(`no frame after ${count}`);
      hasher.update(new Uint32Array([frame.size]));
      hasher.update(frame.data);
      count++;
      note(frame.size);
    }
  } catch (error) {
    if (!(error instanceof WriterDeadError)) throw error;
  }
  return { count, hash: hasher.digest("hex") };
}

describe.each([["core NATS"], ["a stream"]])("over %s", (kind) => {
  test(
    "frames of 1 B to 20 MiB are the same on both sides, at three subscribers",
    async () => {
      await using server = await NatsServer.start();
      const name = uniqueName();
      const isStream = kind === "a stream";
      const stream = isStream ? ["--stream", name, "--start", "first"] : [];
      const big = { payloadSize: 64 * MIB };
      const sinks: Sink[] = [];
      await using stack = new AsyncDisposableStack();
      const start = performance.now();
      await using source = await Source.start(
        server,
        ["--buffer-size", `${64 * MIB}`, "--timeout-ms", "0", ...(isStream ? ["--stream", name] : [])],
        { name, metadata: "about" },
      );
      for (let i = 0; i < 3; i++) {
        const sink = stack.use(await Sink.start(server, name, [...stream, "--timeout-ms", "0"], big));
        sinks.push(await sink.listens());
      }
      // Core NATS is at most once: what is on its way to the slowest one is kept small.
      const received = sinks.map(() => 0);
      let wake = () => {};
      const digests = sinks.map((sink, i) =>
        digest(sink.reader, (size) => {
          received[i]! += size;
          wake();
        }),
      );
      const hasher = new Bun.CryptoHasher("sha256");
      let sent = 0;
      for (const [i, size] of mixedSizes(frames, new Random(seed)).entries()) {
        while (!isStream && sent > 0 && sent - Math.min(...received) + size > 24 * MIB) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
        const slot = await source.writer.acquireFrameAsync(size);
        for (let at = 0; at < size; at += noise.length)
          slot.data.set(noise.subarray(i % 1000, (i % 1000) + Math.min(noise.length - 1000, size - at)), at);
        hasher.update(new Uint32Array([size]));
        hasher.update(slot.data);
        source.writer.commitFrame();
        sent += size;
      }
      const { code, result } = await source.end();
      expect(code).toBe(0);
      expect(result).toMatchObject({ frames_published: frames, bytes_published: sent });
      const wanted = { count: frames, hash: hasher.digest("hex") };
      expect(await Promise.all(digests)).toEqual([wanted, wanted, wanted]);
      for (const sink of sinks) {
        expect(sink.metadata).toBe("about");
        expect((await resultOf(sink.child)).result).toMatchObject({
          frames_received: frames,
          frames_lost: 0,
          frames_dropped: 0,
        });
      }
      const tookS = (performance.now() - start) / 1000;
      console.log(
        `${kind}: ${frames} frames, ${(sent / MIB).toFixed(0)} MiB to three subscribers in ${tookS.toFixed(1)} s`,
      );
    },
    NO_LIMIT,
  );
});

test(
  "1080p YUV pictures at 30 frames per second arrive, and none is lost",
  async () => {
    await using server = await NatsServer.start({ config: "max_payload: 8MB" });
    const name = uniqueName();
    await using sink = await (await Sink.start(server, name, [], { payloadSize: 16 * PICTURE })).listens();
    await using source = startBridge(server, ["publish", name, "--buffer-size", `${16 * PICTURE}`]);
    await eventOf(source, "ready");
    const count = 30 * seconds;
    await using writer = Child.cli(["writer", name, "-s", `${PICTURE}`, "--rate", "30", "-n", `${count}`]);
    let read = 0;
    const before = [source.pid, sink.child.pid].map(processorTimeMs);
    const start = performance.now();
    let shares: number[] = [];
    for (; read < count; read++) {
      await sink.next();
      if (read === count - 10) {
        shares = [source.pid, sink.child.pid].map(
          (pid, i) => (100 * (processorTimeMs(pid) - before[i]!)) / (performance.now() - start),
        );
      }
    }
    await writer.succeed();
    const { result } = await resultOf(sink.child);
    expect(result).toMatchObject({ frames_received: count, frames_lost: 0, frames_dropped: 0 });
    const { p50, p99, max } = result.age_us;
    console.log(
      `${count} pictures, 0 lost; latency p50 ${p50} us, p99 ${p99} us, at most ${max} us; ` +
        `processor: publish ${shares[0]!.toFixed(0)} %, subscribe ${shares[1]!.toFixed(0)} % of one`,
    );
    expect((await resultOf(source)).result).toMatchObject({ frames_published: count });
  },
  NO_LIMIT,
);

describe("kills", () => {
  const count = 4000;
  const random = new Random(seed);
  const sizes = upTo(count).map(
    () => 4 + Math.floor(random.below(random.below(1) < 0.1 ? 3_000_000 : 20_000)),
  );
  const sizeOf = (number: number) => sizes[number - 1]!;
  const pauseMs = () => 200 + random.below(800);

  test(
    "of the broker cost nothing with a stream, and without one every frame is received or counted",
    async () => {
      for (const isStream of [true, false]) {
        await using server = await NatsServer.start();
        const name = uniqueName();
        const stream = isStream ? ["--stream", name] : [];
        await using source = await Source.start(server, [...stream, "--timeout-ms", "0"], { name });
        const args = isStream ? [...stream, "--durable", "me", "--start", "first"] : [];
        await using sink = await (await Sink.start(server, name, [...args, "--timeout-ms", "0"])).listens();
        const all = sink.numbers(sizeOf);
        let isWritten = false;
        const writing = source.write(sizes).then(() => {
          isWritten = true;
        });
        let kills = 0;
        while (!isWritten && kills < 5) {
          await Promise.race([writing, Bun.sleep(pauseMs())]);
          await server.kill();
          kills++;
          await server.restart();
          while (!(await eventOf(source.child, "warning")).message.endsWith("is there again."));
        }
        await writing;
        const published = await source.end();
        expect(published).toMatchObject({ code: 0, result: { frames_published: count } });
        const numbers = await all;
        const { code, result } = await resultOf(sink.child);
        expect(code).toBe(0);
        console.log(
          `${kills} kills of the broker, ${isStream ? "stream" : "core"}: ${count} published, ${published.result.frames_resent} ` +
            `of them again, ${result.frames_received} received, ${result.frames_lost} lost, ${result.frames_dropped} dropped, ${result.frames_duplicate} came again`,
        );
        if (isStream) expect(numbers).toEqual(upTo(count));
        expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b));
        // What waited for the reader, which shares a thread with the writer here, may have been too much.
        expect(result.frames_received + result.frames_lost + result.frames_dropped).toBe(count);
      }
    },
    NO_LIMIT,
  );

  test(
    "of the subscriber cost nothing with a stream",
    async () => {
      await using server = await NatsServer.start();
      const name = uniqueName();
      await using source = await Source.start(server, ["--stream", name, "--timeout-ms", "0"], { name });
      const writing = source.write(sizes);
      using reader = new Reader(uniqueName(), { payloadSize: RING });
      const numbers: number[] = [];
      let kills = 0;
      for (;;) {
        const args = ["--stream", name, "--durable", "me", "--start", "first", "--timeout-ms", "0"];
        await using sink = await Sink.start(server, name, args, { reader });
        await sink.listens();
        const part = sink.numbers(sizeOf);
        if (kills === 10) {
          await writing;
          source.writer.close();
          numbers.push(...(await part));
          break;
        }
        await Bun.sleep(pauseMs());
        sink.child.kill("SIGKILL");
        kills++;
        numbers.push(...(await part));
      }
      const again = numbers.filter((number, i) => number <= (numbers[i - 1] ?? 0)).length;
      console.log(
        `${kills} kills of a durable subscriber: ${numbers.length} frames, ${again} of them again, none lost`,
      );
      // One that was killed between the write and the confirmation gets that frame again.
      expect(again).toBeLessThanOrEqual(kills);
      expect([...new Set(numbers)]).toEqual(upTo(count));
      expect((await resultOf(source.child)).code).toBe(0);
    },
    NO_LIMIT,
  );

  test(
    "of the publisher cost what it had not sent, and nothing of the next one",
    async () => {
      await using server = await NatsServer.start();
      const name = uniqueName();
      const args = ["--stream", name, "--durable", "me", "--start", "first", "--follow"];
      await using sink = await Sink.start(server, name, args);
      const all: number[] = [];
      const reading = sink.numbers(sizeOf).then((numbers) => all.push(...numbers));
      let next = 1;
      const kills = 5;
      for (let kill = 0; kill < kills; kill++) {
        await using source = await Source.start(server, ["--stream", name], { name });
        if (kill === 0) await sink.listens();
        let isOver = false;
        void Bun.sleep(pauseMs()).then(() => {
          isOver = true;
        });
        for (; !isOver && next < count - 10; next++)
          await source.writer.writeFrameAsync(frameOf(next, sizeOf(next)));
        source.child.kill("SIGKILL");
        await source.child.exited();
      }
      await using last = await Source.start(server, ["--stream", name], { name });
      const first = next;
      await last.write(sizes.slice(next - 1), next);
      expect((await last.end()).code).toBe(0);
      await eventOf(sink.child, "peer", { role: "writer", change: "left" });
      sink.child.kill("SIGINT");
      const { result } = await resultOf(sink.child);
      await reading;
      console.log(
        `${kills} kills of the publisher: ${first - 1} frames written to them, ${all.filter((number) => number < first).length} received; ` +
          `${result.frames_lost} lost, ${result.frames_torn} torn; all ${count - first + 1} of the last one received`,
      );
      expect(all).toEqual([...new Set(all)].sort((a, b) => a - b));
      expect(all.filter((number) => number >= first)).toEqual(upTo(count, first));
      expect(result.publishers).toBe(kills + 1);
    },
    NO_LIMIT,
  );
});

describe("memory is bounded under full load, when", () => {
  const size = 1_500_000;

  test.each([
    ["the subscriber is stopped for 10 s"],
    ["the reader of its buffer is stopped for 10 s"],
    ["the broker is stopped for 8 s"],
  ])(
    "%s",
    async (what) => {
      await using server = await NatsServer.start();
      const name = uniqueName();
      await using reader = Child.cli([
        "reader",
        `${name}-to`,
        "--buffer-size",
        "32MiB",
        "--timeout-ms",
        "0",
        "--connect-timeout-ms",
        "0",
        "--json-output",
      ]);
      await reader.handles("SIGINT");
      const words = [
        "subscribe",
        `${name}-to`,
        "--subject",
        `zerobuffer.${name}`,
        "--timeout-ms",
        "0",
        "--dead-after-ms",
        "30s",
      ];
      await using subscriber = startBridge(server, words);
      await eventOf(subscriber, "ready");
      await using source = await Source.start(server, ["--buffer-size", `${32 * MIB}`, "--timeout-ms", "0"], {
        name,
      });
      await using plain = Child.cli(["reader", `${name}-plain`, "--buffer-size", "32MiB"]);
      const publisherMemory = new MemoryWatch(source.child.pid);
      const subscriberMemory = new MemoryWatch(subscriber.pid);
      let isOver = false;
      let written = 0;
      const writing = (async () => {
        const frame = frameOf(1, size);
        for (; !isOver; written++) await source.writer.writeFrameAsync(frame);
      })();
      await Bun.sleep(3000);
      const stopped = what.startsWith("the subscriber")
        ? subscriber
        : what.startsWith("the reader")
          ? reader
          : server;
      await stopped.stop();
      await Bun.sleep(stopped === server ? 8000 : 10_000);
      stopped.resume();
      await Bun.sleep(3000);
      isOver = true;
      await writing;
      const { code, result: published } = await source.end();
      expect(code).toBe(0);
      const received = await resultOf(subscriber);
      expect(received.code).toBe(0);
      const { frames_received, frames_lost, frames_dropped } = received.result;
      plain.kill("SIGINT");
      await plain.exited();
      const read = await reader.report();
      console.log(
        `${what}: ${written} frames of ${size} bytes written, ${frames_received} received, ${frames_lost} lost, ${frames_dropped} dropped; ` +
          `memory of their own at most: publisher ${publisherMemory.peakMiB.toFixed(0)} MiB, subscriber ${subscriberMemory.peakMiB.toFixed(0)} MiB`,
      );
      expect(published.frames_published).toBe(written);
      expect(frames_received + frames_lost + frames_dropped).toBe(written);
      expect(read.document.frames_read).toBe(frames_received);
      // A reader has about 11 MiB of its own.
      expect(publisherMemory.peakMiB).toBeLessThan(11 + 64);
      expect(subscriberMemory.peakMiB).toBeLessThan(11 + 64 + 128);
      publisherMemory[Symbol.dispose]();
      subscriberMemory[Symbol.dispose]();
    },
    NO_LIMIT,
  );
});

describe("between hosts of their own", () => {
  const sizes = upTo(300).map((number) => [1000, 2_500_000, 70_000][number % 3]!);

  test.each([
    ["two", 2],
    ["three", 3],
  ] as const)(
    "%s of them, with the same name for the buffer, with and without a stream, and while the network is away",
    async (_, many) => {
      await using hosts = await Hosts.start(many);
      const [first, last] = [hosts.at(0), hosts.at(many - 1)];
      await using server = await NatsServer.start({ host: first.address, within: first.within });
      for (const isStream of [false, true]) {
        const stream = isStream ? ["--stream", "cam"] : [];
        await using reader = Child.cli(
          ["reader", "cam", "--checksum", "--json-output", "--timeout-ms", "0", "--connect-timeout-ms", "0"],
          { within: last.within },
        );
        await hosts.bufferMade(last, "cam");
        const publisherHost = hosts.at(many - 2);
        await using publisher = startBridge(server, ["publish", "cam", "--timeout-ms", "0", ...stream], {
          within: publisherHost.within,
        });
        await eventOf(publisher, "ready");
        await hosts.bufferMade(publisherHost, "cam");
        await using subscriber = startBridge(
          server,
          ["subscribe", "cam", ...stream, "--dead-after-ms", "60s"],
          { within: last.within },
        );
        await eventOf(subscriber, "ready");
        const input = Buffer.concat(
          sizes.flatMap((size, i) => {
            const head = Buffer.alloc(4);
            head.writeUInt32LE(size);
            return [head, frameOf(i + 1, size)];
          }),
        );
        await using writer = Child.cli(
          [
            "writer",
            "cam",
            "-i",
            "-",
            "--framing",
            "length-prefixed",
            "--rate",
            "60",
            "-m",
            "about",
            "--timeout-ms",
            "0",
          ],
          { within: publisherHost.within, stdin: input },
        );
        while ((await eventOf(subscriber, "progress")).frames === 0);
        // Shorter than TCP gives up: what is on its way comes late.
        await hosts.cut(last);
        await Bun.sleep(2000);
        await hosts.mend(last);
        expect((await writer.exited()).code).toBe(0);
        expect(await resultOf(publisher)).toMatchObject({
          code: 0,
          result: { frames_published: sizes.length, metadata_size: 5 },
        });
        const { code, result } = await resultOf(subscriber);
        expect(code).toBe(0);
        const { document } = await reader.report();
        console.log(
          `${many} hosts, ${isStream ? "stream" : "core"}: ${result.frames_received} received, ${result.frames_lost} lost, ${result.frames_dropped} dropped, ` +
            `${result.outages} outages, latency p50 ${result.age_us.p50} us, p99 ${result.age_us.p99} us`,
        );
        expect(result.frames_received + result.frames_lost + result.frames_dropped).toBe(sizes.length);
        if (isStream) expect(result.frames_received).toBe(sizes.length);
        expect(document).toMatchObject({ frames_read: result.frames_received, metadata_size: 5 });
        if (result.frames_received === sizes.length) {
          const hashes = document.checksums.map(({ checksum }: { checksum: string }) => checksum);
          expect(hashes).toEqual(
            sizes
              .slice(0, 100)
              .map((size, i) => new Bun.CryptoHasher("md5").update(frameOf(i + 1, size)).digest("hex")),
          );
        }
      }
    },
    NO_LIMIT,
  );
});
