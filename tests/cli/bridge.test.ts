import { describe, expect, test } from "bun:test";
import { rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Reader, WriterDeadError } from "../../src/core/index.ts";
import { newRun } from "../../src/frames/wire.ts";
import { eventOf, frameOf, resultOf, Sink, Source, startBridge, upTo } from "../support/bridge.ts";
import { rejectionOf, uniqueName, WAIT_LIMIT_MS } from "../support/buffers.ts";
import { canServe, NatsServer, Stranger } from "../support/nats.ts";
import { Child, run } from "../support/process.ts";
import { expectValid } from "../support/schemas.ts";
import { Random } from "../support/slow-options.ts";

/** From a byte to frames in several parts: a message has room for 1 MiB less the headers. */
const SIZES = [4, 2_500_000, 70_000, 1_048_064, 1_048_065, 5, 3_000_000];
const sizeOf = (number: number) => SIZES[(number - 1) % SIZES.length]!;
const manySizes = (count: number) => upTo(count).map(sizeOf);

const small = (count: number) => Array<number>(count).fill(1000);
const always1000 = () => 1000;

describe.skipIf(!canServe)("frames over NATS", () => {
  test("arrive whole and in order, after their metadata, at three subscribers, which end when the writer has left", async () => {
    await using server = await NatsServer.start();
    const name = uniqueName();
    await using first = await (await Sink.start(server, name)).listens();
    await using second = await (await Sink.start(server, name)).listens();
    await using third = await (await Sink.start(server, name, ["-n", "9"])).listens();
    await using source = await Source.start(server, [], { name, metadata: "about" });
    const all = [first, second, third].map((sink) => sink.numbers(sizeOf));
    await source.write(manySizes(21));
    const published = await source.end();
    expect(published).toMatchObject({ code: 0, stderr: "" });
    expectValid("bridge-publish", published.result);
    const bytes = manySizes(21).reduce((sum, size) => sum + size, 0);
    expect(published.result).toMatchObject({
      frames_published: 21,
      bytes_published: bytes,
      metadata_size: 5,
      frames_dropped: 0,
      frames_resent: 0,
    });
    expect(await Promise.all(all)).toEqual([upTo(21), upTo(21), upTo(9)]);
    for (const sink of [first, second]) {
      expect(sink.metadata).toBe("about");
      const { code, result } = await resultOf(sink.child);
      expect(code).toBe(0);
      expectValid("bridge-subscribe", result);
      expect(result).toMatchObject({
        frames_received: 21,
        bytes_received: bytes,
        frames_lost: 0,
        frames_duplicate: 0,
        publishers: 1,
        metadata_size: 5,
        errors: [],
      });
      expect(result.age_us.p50).toBeGreaterThan(0);
    }
    expect((await resultOf(third.child)).result).toMatchObject({ frames_received: 9, frames_lost: 0 });
  });

  test("reach a subscriber that comes late from then on, after the metadata that it asks for", async () => {
    await using server = await NatsServer.start();
    await using early = await Sink.start(server, "late");
    await early.listens();
    await using source = await Source.start(server, ["--subject", "zerobuffer.late"], { metadata: "about" });
    await source.write(small(5));
    expect(await early.numbers(always1000, 5)).toEqual(upTo(5));
    await using late = await (await Sink.start(server, "late", ["-v"])).listens();
    await late.child.logged("Receiving from run");
    await source.write(small(5), 6);
    expect((await source.end()).code).toBe(0);
    expect(await late.numbers(always1000)).toEqual(upTo(10, 6));
    expect(late.metadata).toBe("about");
    expect((await resultOf(late.child)).result).toMatchObject({ frames_received: 5, frames_lost: 0 });
  });

  test("are shared among a queue group, whose subscribers refuse frames in parts", async () => {
    await using server = await NatsServer.start();
    const name = uniqueName();
    const group = ["--queue", "workers"];
    await using first = await (await Sink.start(server, name, group)).listens();
    await using second = await (await Sink.start(server, name, group)).listens();
    await using source = await Source.start(server, [], { name, metadata: "about" });
    const both = Promise.all([first.numbers(always1000), second.numbers(always1000)]);
    await source.write(small(200));
    expect((await source.end()).code).toBe(0);
    const [one, other] = await both;
    expect([...one, ...other].sort((a, b) => a - b)).toEqual(upTo(200));
    expect(one.length).toBeGreaterThan(0);
    expect(other.length).toBeGreaterThan(0);
    for (const sink of [first, second]) {
      expect(sink.metadata).toBe("about");
      expect((await resultOf(sink.child)).result).toMatchObject({ frames_lost: 0, frames_torn: 0 });
    }
    const large = uniqueName();
    await using third = await (await Sink.start(server, large, group)).listens();
    await using another = await Source.start(server, [], { name: large });
    await another.write([2_000_000]);
    const { code, result } = await resultOf(third.child);
    expect(code).toBe(3);
    expect(result.error.code).toBe("FRAME_TOO_LARGE");
    expect(result.error.hint).toContain("max_payload of the NATS server (now 1048576)");
    expect((await another.end()).code).toBe(0);
  });

  test("with gaps, twice, of a second publisher or of no publisher are counted, and none is written that should not be", async () => {
    await using server = await NatsServer.start();
    await using stranger = await Stranger.connect(server);
    const name = uniqueName();
    const subject = `zerobuffer.${name}`;
    await using sink = await (await Sink.start(server, name, ["-v"])).listens();
    const [first, second] = [newRun(), newRun()];
    const mark = { "Zb-Run": first, "Zb-Seq": "0" };
    await stranger.send(`${subject}._zb.metadata`, Buffer.from("about"), mark);
    const send = (sequence: number, run = first) =>
      stranger.sendPart(subject, frameOf(sequence, 1000), { run, sequence });
    await send(1);
    await send(2);
    await send(2);
    await send(5);
    // A second publisher: it is refused once the first one is heard again.
    await send(77, second);
    await send(6);
    await send(78, second);
    // What no publisher sends.
    await stranger.send(subject, frameOf(1, 10), {});
    await stranger.send(subject, frameOf(1, 10), {
      ...mark,
      "Zb-Seq": "7",
      "Zb-Size": "99",
      "Zb-Part": "1/1",
    });
    await stranger.send(`${subject}._zb.end`, frameOf(1, 10), { "Zb-Run": "me" });
    await stranger.send(`${subject}._zb.alive`, frameOf(1, 10), {});
    // A part of a frame that never fits, and one that is larger than it says.
    await stranger.sendPart(subject, frameOf(7, 100), {
      run: first,
      sequence: 7,
      size: 2 ** 40,
      part: 1,
      parts: 2,
    });
    await stranger.sendPart(subject, frameOf(8, 100), {
      run: first,
      sequence: 8,
      size: 150,
      part: 1,
      parts: 2,
    });
    await stranger.sendPart(subject, frameOf(8, 100), {
      run: first,
      sequence: 8,
      size: 150,
      part: 2,
      parts: 2,
    });
    await send(9);
    await stranger.send(`${subject}._zb.end`, new Uint8Array(0), {
      ...mark,
      "Zb-Seq": "10",
      "Zb-End": "left",
    });
    expect(await sink.numbers(always1000)).toEqual([1, 2, 5, 6, 9]);
    expect(sink.metadata).toBe("about");
    const { code, result, stderr } = await resultOf(sink.child);
    expect(code).toBe(0);
    expect(result).toMatchObject({
      frames_received: 5,
      // 3, 4, 8 and 10.
      frames_lost: 4,
      frames_torn: 1,
      frames_duplicate: 1,
      frames_refused: 2,
      frames_too_large: 1,
      messages_refused: 5,
      publishers: 1,
    });
    expect(stderr).toContain("Another publisher sends to the same subject");
    expect(stderr).toContain("Raise --buffer-size");
  });

  test("of a hostile publisher crash nothing, and what is written is whole", async () => {
    const seed = (Math.random() * 2 ** 32) >>> 0;
    console.log(`seed ${seed}`);
    const random = new Random(seed);
    const pick = <T>(values: readonly T[]) => values[Math.floor(random.below(values.length))] as T;
    await using server = await NatsServer.start();
    await using stranger = await Stranger.connect(server);
    const name = uniqueName();
    const subject = `zerobuffer.${name}`;
    await using sink = await (await Sink.start(server, name)).listens();
    const [known, other] = [newRun(), newRun()];
    await stranger.send(`${subject}._zb.metadata`, Buffer.from("about"), { "Zb-Run": known, "Zb-Seq": "0" });
    const LAST = 2 ** 32 - 1;
    /** How many words each message has: all of them are its number. */
    const words: number[] = [];
    const frames: number[][] = [];
    // Each change of the metadata comes by another writer.
    const reading = (async () => {
      while (frames.at(-1)?.[0] !== LAST) {
        try {
          frames.push([...new Uint32Array((await sink.next()).buffer)]);
        } catch (error) {
          if (!(error instanceof WriterDeadError)) throw error;
        }
      }
    })();
    let sequence = 0;
    let open = { part: 0, parts: 0, left: 0, size: 0 };
    for (let i = 0; i < 3000; i++) {
      if (open.part === open.parts) {
        const parts = pick([1, 1, 2, 3, 5]);
        const size = 4 * parts * pick([1, 7, 250]);
        open = { part: 0, parts, left: size, size };
        sequence++;
      }
      open.part++;
      let count = open.size / open.parts / 4;
      const headers: Record<string, string> = {
        "Zb-Run": known,
        "Zb-Seq": `${sequence}`,
        "Zb-Size": `${open.size}`,
        "Zb-Part": `${open.part}/${open.parts}`,
        "Zb-Time": "1",
      };
      let target = subject;
      if (random.below(1) < 0.3) {
        const field = pick(Object.keys(headers));
        const near = [sequence - 1, sequence + 1, open.part, open.size - 4, open.size + 4, 2 ** 40, 2 ** 64];
        const texts = [
          "",
          "0",
          "-1",
          "1e3",
          "NaN",
          "1/1",
          "2/1",
          "1/2",
          "0/0",
          "2/3",
          "9/9",
          "x".repeat(300),
        ];
        const wrong = pick([...near.map(String), ...texts, other]);
        const isFar = field === "Zb-Seq" && Number(wrong) > sequence + 1;
        switch (pick(["change", "change", "leave out", "body", "subject", "nothing"])) {
          case "change":
            // A number far ahead would make all that follow old.
            if (!isFar) headers[field] = wrong;
            break;
          case "leave out":
            delete headers[field];
            break;
          case "body":
            count = pick([0, 1, count + 1, 2 * count, 5000]);
            break;
          case "subject":
            target = `${subject}._zb.${pick(["metadata", "alive"])}`;
            break;
          case "nothing":
            // The part does not come.
            continue;
        }
      }
      words[i] = count;
      await stranger.send(target, new Uint8Array(new Uint32Array(count).fill(i).buffer), headers);
    }
    await stranger.sendPart(subject, new Uint8Array(4).fill(255), { run: known, sequence: sequence + 10 });
    const left = { "Zb-Run": known, "Zb-Seq": `${sequence + 10}`, "Zb-End": "left" };
    await stranger.send(`${subject}._zb.end`, new Uint8Array(0), left);
    await reading;
    const { code, result } = await resultOf(sink.child);
    expect([code, result.frames_received]).toEqual([0, frames.length]);
    expect(frames.pop()).toEqual([LAST]);
    expect(frames.length).toBeGreaterThan(100);
    for (const frame of frames) {
      // The whole of one message after the other, in the order in which they were sent.
      for (let at = 0, before = -1; at < frame.length; ) {
        const message = frame[at] as number;
        expect(message).toBeGreaterThan(before);
        const end = at + (words[message] ?? 0);
        expect(frame.slice(at, end)).toEqual(new Array(end - at).fill(message));
        [at, before] = [end, message];
      }
    }
  });

  test("that do not fit are dropped with --on-full drop, and with wait they wait", async () => {
    await using server = await NatsServer.start();
    const name = uniqueName();
    const tiny = { payloadSize: 8192 };
    await using waiting = await (await Sink.start(server, name, [], tiny)).listens();
    await using dropping = await (await Sink.start(server, name, ["--on-full", "drop"], tiny)).listens();
    await using source = await Source.start(server, [], { name });
    await source.write(small(100));
    expect((await source.end()).code).toBe(0);
    const dropped = (await resultOf(dropping.child)).result;
    expect(dropped.frames_received + dropped.frames_dropped).toBe(100);
    expect(dropped.frames_dropped).toBeGreaterThan(80);
    expect(dropped.frames_lost).toBe(0);
    expect(await waiting.numbers(always1000)).toEqual(upTo(100));
    expect((await resultOf(waiting.child)).result).toMatchObject({ frames_received: 100, frames_dropped: 0 });
  });

  test("that wait for room take no more than 64 MiB: beyond that whole frames are dropped and counted", async () => {
    await using server = await NatsServer.start();
    const name = uniqueName();
    await using sink = await (await Sink.start(server, name, ["--timeout-ms", "0"])).listens();
    await using source = await Source.start(server, [], { name });
    const sizes = Array<number>(50).fill(3_000_000);
    await source.write(sizes);
    expect((await source.end()).result).toMatchObject({ frames_published: 50 });
    // What is refused does not wait: when that is told, the subscriber has everything that came before.
    await using stranger = await Stranger.connect(server);
    await stranger.send(`zerobuffer.${name}`, new Uint8Array(1), {});
    await eventOf(sink.child, "warning");
    const numbers = await sink.numbers(() => 3_000_000);
    const { code, result } = await resultOf(sink.child);
    expect(code).toBe(0);
    expect(result).toMatchObject({ frames_lost: 0, frames_received: numbers.length });
    expect(result.frames_dropped + result.frames_received).toBe(50);
    // Those in the ring, the one that waits for room, and 64 MiB.
    expect(result.frames_received).toBeLessThanOrEqual(2 + 1 + 22);
    expect(result.frames_received).toBeGreaterThanOrEqual(20);
  });
});

describe.skipIf(!canServe)("a publisher", () => {
  test("that is killed ends its subscribers with WRITER_DEAD; with --follow they go on with the next one", async () => {
    await using server = await NatsServer.start();
    const name = uniqueName();
    const soon = ["--dead-after-ms", "1500"];
    await using sink = await (await Sink.start(server, name, soon)).listens();
    await using following = await (await Sink.start(server, name, [...soon, "--follow"])).listens();
    const all = following.numbers(always1000, 20);
    {
      await using source = await Source.start(server, [], { name, metadata: "one" });
      await source.write(small(10));
      expect(await sink.numbers(always1000, 10)).toEqual(upTo(10));
      source.child.kill("SIGKILL");
      await source.child.exited();
    }
    const { code, result } = await resultOf(sink.child);
    expect(code).toBe(2);
    expect(result.error).toMatchObject({ code: "WRITER_DEAD", message: expect.stringContaining("1500 ms") });
    expect(await rejectionOf(sink.reader.readFrameAsync(WAIT_LIMIT_MS))).toMatchObject({ reason: "died" });
    await eventOf(following.child, "peer", { role: "writer", change: "died" });
    await using source = await Source.start(server, [], { name, metadata: "one" });
    await source.write(small(10), 11);
    expect(await all).toEqual(upTo(20));
    following.child.kill("SIGINT");
    const end = await resultOf(following.child);
    expect(end.code).toBe(130);
    expect(end.result).toMatchObject({ frames_received: 20, publishers: 2, frames_lost: 0 });
    expect((await source.end()).code).toBe(0);
  });

  test("that starts again is received once the first one is dead; until then its frames wait", async () => {
    await using server = await NatsServer.start();
    const name = uniqueName();
    await using sink = await (await Sink.start(server, name, ["--dead-after-ms", "1500"])).listens();
    {
      await using source = await Source.start(server, [], { name });
      await source.write(small(5));
      expect(await sink.numbers(always1000, 5)).toEqual(upTo(5));
      source.child.kill("SIGKILL");
      await source.child.exited();
    }
    await using source = await Source.start(server, [], { name });
    await source.write(small(5), 6);
    expect(await sink.numbers(always1000, 5)).toEqual(upTo(10, 6));
    expect((await source.end()).code).toBe(0);
    const { code, result } = await resultOf(sink.child);
    expect(code).toBe(0);
    expect(result).toMatchObject({ frames_received: 10, frames_lost: 0, frames_refused: 0, publishers: 2 });
  });

  test("whose writer is killed says so, and one that is interrupted has left", async () => {
    await using server = await NatsServer.start();
    const name = uniqueName();
    await using sink = await (await Sink.start(server, name)).listens();
    await using source = startBridge(server, ["publish", name, "--buffer-size", `${2 ** 20}`]);
    await eventOf(source, "ready");
    await using writer = Child.cli(["writer", name, "-n", "0", "--rate", "100", "-s", "1000"]);
    await sink.next();
    writer.kill("SIGKILL");
    expect(await resultOf(source)).toMatchObject({ code: 2, result: { error: { code: "WRITER_DEAD" } } });
    expect(await resultOf(sink.child)).toMatchObject({ code: 2, result: { error: { code: "WRITER_DEAD" } } });

    await using other = await (await Sink.start(server, name)).listens();
    await using stopped = await Source.start(server, [], { name });
    await stopped.write(small(3));
    expect(await other.numbers(always1000, 3)).toEqual(upTo(3));
    stopped.child.kill("SIGINT");
    expect((await resultOf(stopped.child)).code).toBe(130);
    expect(await resultOf(other.child)).toMatchObject({
      code: 0,
      result: { frames_received: 3, frames_lost: 0 },
    });
  });

  test("that is idle lives as long as its heartbeat does, and --follow goes on with the next writer and its metadata", async () => {
    await using server = await NatsServer.start();
    await using stranger = await Stranger.connect(server);
    const name = uniqueName();
    const impatient = ["--dead-after-ms", "1500", "--timeout-ms", "1000"];
    await using sink = await (await Sink.start(server, name, impatient)).listens();
    await using source = await Source.start(server, ["--follow"], { name, metadata: "one" });
    await source.write(small(1));
    expect(await sink.numbers(always1000, 1)).toEqual([1]);
    const beats = stranger.connection.subscribe(`zerobuffer.${name}._zb.alive`, { max: 4 });
    let heard = 0;
    for await (const _ of beats) heard++;
    expect(heard).toBe(4);
    source.writer.close();
    await using next = Child.cli(["writer", name, "-n", "2", "-s", "1000", "-m", "two", "--json-output"]);
    expect((await next.report()).code).toBe(0);
    // Other metadata comes as another writer, whose predecessor may be seen to leave.
    await sink.next().catch(() => sink.next());
    await sink.next();
    expect(sink.metadata).toBe("two");
    source.child.kill("SIGTERM");
    expect((await resultOf(source.child)).code).toBe(143);
    expect(await resultOf(sink.child)).toMatchObject({
      code: 0,
      result: { frames_received: 3, publishers: 1 },
    });
  });
});

describe.skipIf(!canServe)("a broker", () => {
  test("that is not there, or has no room for frames in its messages, is an error with a hint", async () => {
    const name = uniqueName();
    const nobody = ["--server", "nats://127.0.0.1:1", "--connect-timeout-ms", "1"];
    for (const words of [["publish"], ["subscribe"]]) {
      await using child = Child.cli(["bridge", ...words, name, ...nobody, "--json-output"]);
      const { code, document, stderr } = await child.report();
      expect(code).toBe(1);
      expect(document.error).toMatchObject({
        code: "PEER_TIMEOUT",
        message: "No NATS server answers at nats://127.0.0.1:1: connection refused.",
        hint: expect.stringContaining("zerobuffer doctor --server"),
      });
      expect(stderr).toContain("connection refused");
    }
    await using server = await NatsServer.start({ config: "max_payload: 550" });
    await using child = startBridge(server, ["publish", name, "--buffer-size", "4096"]);
    const { code, result } = await resultOf(child);
    expect(code).toBe(1);
    expect(result.error).toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      hint: expect.stringContaining("max_payload"),
    });
  });

  test("is waited for until it is there", async () => {
    await using server = await NatsServer.start();
    await server.kill();
    const name = uniqueName();
    await using sink = await Sink.start(server, name, ["-v"]);
    await sink.child.logged("Waiting for it");
    await server.restart();
    await sink.listens();
    await using source = await Source.start(server, [], { name });
    await source.write(small(2));
    expect((await source.end()).code).toBe(0);
    expect(await sink.numbers(always1000)).toEqual([1, 2]);
  });

  test("that refuses the user, or what the user may do, is an error that shows no secret", async () => {
    const permissions = '{ publish: "other.>", subscribe: [ "_INBOX.>", "zerobuffer.>" ] }';
    await using server = await NatsServer.start({
      config: `authorization { users: [ { user: "may", password: "hunter2-right" }, { user: "limited", password: "hunter2-right", permissions: ${permissions} } ] }`,
    });
    const secrets = join(tmpdir(), `${uniqueName()}.secret`);
    writeFileSync(secrets, "hunter2-right\nhunter2-more\n");
    try {
      const name = uniqueName();
      const outcomes = [];
      const attempt = async (words: readonly string[], env: Record<string, string> = {}) => {
        await using child = startBridge(server, [...words, "-v"], { env });
        const outcome = await resultOf(child);
        outcomes.push(JSON.stringify(outcome));
        return outcome;
      };
      const publish = ["publish", name, "--buffer-size", "4096"];
      expect(await attempt([...publish, "--user", "may"], { NATS_PASSWORD: "hunter2-wrong" })).toMatchObject({
        code: 1,
        result: { error: { code: "PERMISSION_DENIED", hint: expect.stringContaining("--password-file") } },
      });
      expect(await attempt(publish)).toMatchObject({
        code: 1,
        result: { error: { code: "PERMISSION_DENIED" } },
      });
      expect(await attempt([...publish, "--user", "limited", "--password-file", secrets])).toMatchObject({
        code: 1,
        result: {
          error: {
            code: "PERMISSION_DENIED",
            message: `The NATS server does not permit this user to publish to zerobuffer.${name}._zb.metadata.`,
            hint: expect.stringContaining("docs/bridge.md"),
          },
        },
      });
      using reader = new Reader(uniqueName(), { payloadSize: 4096, metadataSize: 64 });
      const elsewhere = ["subscribe", reader.name, "--subject", "elsewhere"];
      expect(await attempt([...elsewhere, "--user", "limited", "--password-file", secrets])).toMatchObject({
        code: 1,
        result: {
          error: { message: "The NATS server does not permit this user to subscribe to elsewhere." },
        },
      });
      const withUser = `nats://may:hunter2-right@127.0.0.1:${server.port}`;
      const refused = await run("bridge", ...publish, "--server", withUser, "-v");
      expect(refused.code).toBe(3);
      outcomes.push(refused.stderr);
      const malformed = await run("bridge", ...publish, "--server", "http://may:hunter2-right@x", "-v");
      expect(malformed.code).toBe(3);
      outcomes.push(malformed.stderr);
      const creds = await run("bridge", ...publish, "--server", server.url, "--creds", secrets, "-v");
      expect(creds.code).toBe(2);
      expect(creds.stderr).toContain("--creds");
      outcomes.push(creds.stderr);

      await using sink = await (
        await Sink.start(server, name, ["-v"], { env: { NATS_URL: withUser } })
      ).listens();
      await using source = await Source.start(server, ["-v", "--user", "may", "--password-file", secrets], {
        name,
      });
      await source.write(small(2));
      const published = await source.end();
      expect(published.code).toBe(0);
      expect(await sink.numbers(always1000)).toEqual([1, 2]);
      outcomes.push(JSON.stringify(published), JSON.stringify(await resultOf(sink.child)));
      for (const outcome of outcomes) expect(outcome).not.toContain("hunter2");
      expect(outcomes).toHaveLength(9);
    } finally {
      rmSync(secrets);
    }
  });

  test("may demand TLS, and a certificate", async () => {
    const directory = join(tmpdir(), uniqueName());
    const at = (file: string) => join(directory, file);
    await using maker = Child.program([
      "sh",
      "-ec",
      `mkdir ${directory}; cd ${directory}
       openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out ca.pem -days 2 \
         -subj /CN=zerobuffer -addext subjectAltName=IP:127.0.0.1 2>/dev/null`,
    ]);
    await maker.succeed();
    try {
      const files = `cert_file: "${at("ca.pem")}", key_file: "${at("key.pem")}", ca_file: "${at("ca.pem")}"`;
      await using server = await NatsServer.start({ config: `tls { ${files}, verify: true }` });
      const identity = ["--tls-ca", at("ca.pem"), "--tls-cert", at("ca.pem"), "--tls-key", at("key.pem")];
      const name = uniqueName();
      await using sink = await (await Sink.start(server, name, identity)).listens();
      await using source = await Source.start(server, identity, { name });
      await source.write(small(3));
      expect((await source.end()).code).toBe(0);
      expect(await sink.numbers(always1000)).toEqual([1, 2, 3]);
      await using distrustful = startBridge(server, ["publish", uniqueName(), "--buffer-size", "4096"]);
      expect(await resultOf(distrustful)).toMatchObject({
        code: 2,
        result: { error: { code: "IO_ERROR", hint: expect.stringContaining("--tls-ca") } },
      });
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

test.each([
  [["publish", "cam", "--subject", "a b"], "cannot be the subject"],
  [["publish", "cam", "--subject", "a.*"], "cannot be the subject"],
  [["publish", "cam", "--subject", "cam._zb.end"], "cannot be the subject"],
  [["publish", "cam..x"], "cannot be the subject"],
  [["publish", "cam", "--stream-max-bytes", "1G"], "needs --stream"],
  [["publish", "cam", "--stream", "a.b"], "--stream takes"],
  [["subscribe", "cam", "--durable", "me"], "needs --stream"],
  [["subscribe", "cam", "--start", "first"], "needs --stream"],
  [["subscribe", "cam", "--stream", "s", "--start", "soon"], "takes new, first, last"],
  [["subscribe", "cam", "--stream", "s", "--queue", "q"], "cannot be combined"],
  [["subscribe", "cam", "--user", "me", "--creds", "/dev/null"], "cannot be combined"],
  [["subscribe", "cam", "--password-file", "/dev/null"], "needs --user"],
  [["subscribe", "cam", "--tls-key", "/dev/null"], "belong together"],
  [["subscribe", "cam", "--server", "ws://127.0.0.1"], "takes addresses such as"],
])("refuses %p", async (words, message) => {
  const { code, stderr } = await run("bridge", ...words);
  expect(stderr).toContain(message);
  expect(code).toBe(3);
});
