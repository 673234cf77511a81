// A relay with several outputs, and frames that it shares with their readers.

import { describe, expect, test } from "bun:test";
import { type Frame, Reader, Writer } from "../../src/core/index.ts";
import { bytesOf, eventually, rejectionOf, uniqueName, WAIT_LIMIT_MS } from "../support/buffers.ts";
import { Child, run, runJson } from "../support/process.ts";
import { expectValid } from "../support/schemas.ts";

/** The least size of frames that are shared. */
const SHARED = 4096;

const RING = 64 * 1024;

/** A camera and some displays of this test, with a relay between them. */
class Fan implements AsyncDisposable {
  readonly input = uniqueName();
  readonly displays: readonly Reader[];
  readonly relay: Child;
  readonly camera: Promise<Writer>;

  /** @param outputs what follows the name of each output: nothing, or a policy. */
  constructor(outputs: readonly string[], args: readonly string[], payloadSizes: readonly number[] = []) {
    this.displays = outputs.map((_, at) => {
      const config = { metadataSize: 256, payloadSize: payloadSizes[at] ?? RING };
      return new Reader(uniqueName(), config, { allowPayloadSharing: true });
    });
    const names = this.displays.map(({ name }, at) => `${name}${outputs[at]}`);
    const common = ["--buffer-size", "256KiB", "--timeout-ms", "0", "--json-output", "-v"];
    this.relay = Child.cli(["relay", this.input, ...names, ...common, ...args]);
    this.camera = Writer.connect(this.input, { connectTimeoutMs: WAIT_LIMIT_MS });
  }

  display(at: number): Reader {
    return this.displays[at]!;
  }

  /** Writes frames until all displays whose frames can be shared have answered. Returns how many. */
  async share(displays: readonly Reader[], size = SHARED): Promise<number> {
    const camera = await this.camera;
    for (let sequence = 1; ; sequence++) {
      await camera.writeFrameAsync(bytesOf(sequence, size));
      const frames = await Promise.all(this.displays.map((display) => display.readFrameAsync(WAIT_LIMIT_MS)));
      for (const frame of frames) expect(Buffer.compare(frame.data, bytesOf(sequence, size))).toBe(0);
      const areShared = displays.every((display) => frames[this.displays.indexOf(display)]!.isShared);
      for (const frame of frames) frame.release();
      if (areShared) return sequence;
    }
  }

  async finish() {
    (await this.camera).close();
    return await this.relay.report();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.relay[Symbol.asyncDispose]();
    await this.camera.then(
      (camera) => camera.close(),
      () => {},
    );
    for (const display of this.displays) display.close();
  }
}

/** Reads a frame, which must be there soon. */
async function next(reader: Reader): Promise<Frame> {
  const frame = await reader.readFrameAsync(WAIT_LIMIT_MS);
  expect(frame.isValid).toBe(true);
  return frame;
}

describe("several outputs", () => {
  test("get every frame and the metadata, and the frames lie in the input", async () => {
    await using fan = new Fan(["", "", ""], []);
    (await fan.camera).setMetadata(Buffer.from("about"));
    const frames = await fan.share(fan.displays);
    const camera = await fan.camera;
    for (const [i, size] of [1, SHARED - 1, SHARED, 20_000].entries()) {
      camera.writeFrame(bytesOf(frames + i + 1, size));
      for (const display of fan.displays) {
        using frame = await next(display);
        expect([frame.sequence, frame.isShared]).toEqual([frames + i + 1, size >= SHARED]);
        expect(Buffer.compare(frame.data, bytesOf(frames + i + 1, size))).toBe(0);
        expect(Buffer.from(display.getMetadata()).toString()).toBe("about");
      }
    }
    const { code, document } = await fan.finish();
    expect(code).toBe(0);
    expectValid("relay", document);
    expect(document).toMatchObject({
      output_buffer: fan.display(0).name,
      frames_relayed: frames + 4,
      frames_dropped: 0,
      total_bytes: frames * SHARED + 1 + SHARED - 1 + SHARED + 20_000,
      metadata_relayed: true,
      metadata_size: 5,
      errors: [],
    });
    for (const [at, { name }] of fan.displays.entries()) {
      const { frames_shared, frames_copied, ...output } = document.outputs[at];
      expect(output).toEqual({
        ...{ buffer: name, frames_relayed: frames + 4, frames_dropped: 0, sharing: "active" },
      });
      expect(frames_shared).toBeGreaterThanOrEqual(3);
      expect(frames_shared + frames_copied).toBe(frames + 4);
    }
  });

  test("get copies with --no-sharing, and from a relay whose reader takes none", async () => {
    await using fan = new Fan(["", ""], ["--no-sharing"]);
    const camera = await fan.camera;
    for (let i = 1; i <= 5; i++) {
      camera.writeFrame(bytesOf(i, SHARED));
      for (const display of fan.displays) {
        using frame = await next(display);
        expect([frame.isShared, Buffer.compare(frame.data, bytesOf(i, SHARED))]).toEqual([false, 0]);
      }
    }
    const { document } = await fan.finish();
    for (const output of document.outputs) {
      expect(output).toMatchObject({ frames_shared: 0, frames_copied: 5, sharing: "off" });
    }
  });

  test("get frames that are transformed once", async () => {
    await using fan = new Fan(["", ""], ["--transform", "xor", "--xor-key", "15"]);
    const camera = await fan.camera;
    for (let i = 1; i <= 20; i++) {
      await camera.writeFrameAsync(bytesOf(i, SHARED));
      for (const display of fan.displays) {
        using frame = await next(display);
        expect(
          Buffer.compare(
            frame.data,
            bytesOf(i, SHARED).map((byte) => byte ^ 15),
          ),
        ).toBe(0);
      }
    }
    const { document } = await fan.finish();
    expect(document.outputs.map((output: { sharing: string }) => output.sharing)).toEqual([
      "active",
      "active",
    ]);
  });

  test("share frames of several megabytes, transformed and not", async () => {
    const size = 9 * 1024 * 1024 + 5;
    for (const transform of ["none", "reverse"]) {
      const ring = `${2 * size + 4096}`;
      await using fan = new Fan(
        ["", ""],
        ["--transform", transform, "--buffer-size", ring],
        [size + 64, size + 64],
      );
      const frames = transform === "none" ? await fan.share(fan.displays, size) : 0;
      const camera = await fan.camera;
      for (let i = 1; i <= 3; i++) {
        await camera.writeFrameAsync(bytesOf(frames + i, size));
        const wanted = bytesOf(frames + i, size);
        if (transform === "reverse") wanted.reverse();
        for (const display of fan.displays) {
          using frame = await next(display);
          expect(Buffer.compare(frame.data, wanted)).toBe(0);
          if (transform === "none") expect(frame.isShared).toBe(true);
        }
      }
      expect((await fan.finish()).document.frames_relayed).toBe(frames + 3);
    }
  });
});

describe("a relay whose readers take shared frames", () => {
  test.each([
    ["8 KiB", 8192],
    ["8 MiB", 8 * 1024 * 1024],
  ])("shares frames of %s, the first one included", async (_, size) => {
    await using fan = new Fan([""], ["--buffer-size", `${2 * size}`], [size + 64]);
    const camera = await fan.camera;
    const first = next(fan.display(0));
    await fan.relay.logged("Sharing frames with");
    for (let i = 1; i <= 3; i++) {
      await camera.writeFrameAsync(bytesOf(i, size));
      using frame = await (i === 1 ? first : next(fan.display(0)));
      expect([frame.sequence, frame.isShared]).toEqual([i, true]);
      expect(Buffer.compare(frame.data, bytesOf(i, size))).toBe(0);
    }
    const { code, document } = await fan.finish();
    expect([code, document.outputs[0]]).toEqual([
      0,
      {
        ...{ buffer: fan.display(0).name, frames_relayed: 3, frames_dropped: 0 },
        ...{ frames_shared: 3, frames_copied: 0, sharing: "active" },
      },
    ]);
  });

  test("sends the metadata before the first frame, also if it has looked for both without success", async () => {
    await using fan = new Fan([""], ["-n", "1"]);
    const camera = await fan.camera;
    const first = next(fan.display(0));
    // It tells so at the end of a wait for a frame. Then it looks for the metadata, and waits again.
    await fan.relay.logged("Sharing frames with");
    await fan.relay.sleeping();
    camera.setMetadata(Buffer.from("about"));
    camera.writeFrame(bytesOf(1, SHARED));
    using frame = await first;
    expect([frame.sequence, frame.isShared]).toEqual([1, true]);
    expect(Buffer.from(fan.display(0).getMetadata()).toString()).toBe("about");
    expect((await fan.relay.report()).document).toMatchObject({ metadata_relayed: true, metadata_size: 5 });
  });
});

describe("a frame that came shared", () => {
  test.each([["none"], ["xor"], ["reverse"]])("is copied on, with --transform %s", async (transform) => {
    const [input, between] = [uniqueName(), uniqueName()];
    using display = new Reader(
      uniqueName(),
      { payloadSize: 16 * 1024 * 1024 },
      { allowPayloadSharing: true },
    );
    const common = ["--json-output", "--timeout-ms", "0", "-v"];
    const ring = ["--buffer-size", "16MiB"];
    await using second = Child.cli([
      "relay",
      between,
      display.name,
      "--transform",
      transform,
      ...ring,
      ...common,
    ]);
    await second.logged("Connected");
    await using first = Child.cli(["relay", input, between, ...ring, ...common]);
    using camera = await Writer.connect(input, { connectTimeoutMs: WAIT_LIMIT_MS });
    const size = 5 * 1024 * 1024;
    let frames = 0;
    const pass = async (size: number) => {
      frames++;
      await camera.writeFrameAsync(bytesOf(frames, size));
      using frame = await next(display);
      const wanted = bytesOf(frames, size);
      if (transform === "reverse") wanted.reverse();
      if (transform === "xor") for (let i = 0; i < size; i++) wanted[i]! ^= 255;
      expect(Buffer.compare(frame.data, wanted)).toBe(0);
      return frame.isShared;
    };
    // The first frames come to the second relay as copies, which it can share.
    for (let i = 0; i < 3; i++) await pass(SHARED);
    while (await pass(SHARED)) expect(frames).toBeLessThan(100_000);
    for (let i = 0; i < 3; i++) expect(await pass(i === 0 ? SHARED : size)).toBe(false);
    camera.close();
    const [before, behind] = await Promise.all([first.report(), second.report()]);
    expect(before.document.outputs[0]).toMatchObject({ sharing: "active", frames_relayed: frames });
    expect(before.document.outputs[0].frames_shared).toBeGreaterThan(2);
    expect(behind.document).toMatchObject({ frames_relayed: frames });
    expect(behind.document.outputs[0].frames_copied).toBeGreaterThan(2);
  });
});

describe("an output that is slow", () => {
  test("sets the pace: the others get no more than its ring and the input hold", async () => {
    await using fan = new Fan(["", ""], ["--no-sharing"], [RING, 4096]);
    const camera = await fan.camera;
    const written = (async () => {
      for (let i = 1; i <= 20; i++) await camera.writeFrameAsync(bytesOf(i, 1000));
    })();
    // The second one takes four; the fifth has gone to the first one, and no more.
    for (let i = 1; i <= 5; i++) (await next(fan.display(0))).release();
    await fan.relay.sleeping();
    expect(fan.display(0).tryReadFrame().isValid).toBe(false);
    for (let i = 1; i <= 20; i++) {
      (await next(fan.display(1))).release();
      if (i > 5) (await next(fan.display(0))).release();
    }
    await written;
    expect((await fan.finish()).document).toMatchObject({ frames_relayed: 20, frames_dropped: 0 });
  });

  test.each([
    [["", ":drop"], []],
    [
      [":wait", ""],
      ["--on-full", "drop"],
    ],
  ])("and drops, as %j with %j, misses frames alone and holds up nobody", async (outputs, args) => {
    await using fan = new Fan(outputs, args, [RING, 4096]);
    const camera = await fan.camera;
    for (let i = 1; i <= 20; i++) {
      await camera.writeFrameAsync(bytesOf(i, 1000));
      using frame = await next(fan.display(0));
      expect(Buffer.compare(frame.data, bytesOf(i, 1000))).toBe(0);
    }
    const { document } = await fan.finish();
    expect(document).toMatchObject({ frames_relayed: 20, frames_dropped: 0 });
    expect(document.outputs[0]).toMatchObject({ frames_relayed: 20, frames_dropped: 0 });
    expect(document.outputs[1]).toMatchObject({ frames_relayed: 4, frames_dropped: 16, sharing: "off" });
    for (let i = 1; i <= 4; i++) (await next(fan.display(1))).release();
  });

  test("counts a frame as dropped that no output takes", async () => {
    await using fan = new Fan([":drop", ":drop"], ["-n", "10"], [4096, 4096]);
    const camera = await fan.camera;
    for (let i = 1; i <= 10; i++) camera.writeFrame(bytesOf(i, 1000));
    const { document } = await fan.relay.report();
    expect(document).toMatchObject({ frames_relayed: 4, frames_dropped: 6, total_bytes: 4000 });
  });

  test("and holds shared frames is waited for at --max-lag", async () => {
    await using fan = new Fan(["", ""], ["--max-lag", "2"]);
    const before = await fan.share(fan.displays);
    const camera = await fan.camera;
    for (let i = 1; i <= 6; i++) camera.writeFrame(bytesOf(before + i, SHARED));
    const held = [await next(fan.display(1)), await next(fan.display(1))];
    // The first one also gets the frame that waits for the second one.
    for (let i = 1; i <= 3; i++) (await next(fan.display(0))).release();
    await fan.relay.sleeping();
    expect([fan.display(0).tryReadFrame().isValid, fan.display(1).tryReadFrame().isValid]).toEqual([
      false,
      false,
    ]);
    held[0]!.release();
    held.push(await next(fan.display(1)));
    expect(held.map(({ sequence }) => sequence - before)).toEqual([1, 2, 3]);
    (await next(fan.display(0))).release();
    for (const frame of held) frame.release();
    for (let i = 4; i <= 6; i++) (await next(fan.display(1))).release();
    for (let i = 5; i <= 6; i++) (await next(fan.display(0))).release();
    expect((await fan.finish()).document).toMatchObject({ frames_relayed: before + 6, errors: [] });
  });

  test("does not keep a signal from being handled", async () => {
    await using fan = new Fan(["", ""], ["--no-sharing"], [RING, 4096]);
    const camera = await fan.camera;
    for (let i = 1; i <= 20; i++) camera.writeFrame(bytesOf(i, 1000));
    for (let i = 1; i <= 5; i++) (await next(fan.display(0))).release();
    fan.relay.kill("SIGINT");
    const { code, document } = await fan.relay.report();
    expect([code, document.error.code]).toEqual([130, "INTERRUPTED"]);
    expect(document.outputs.map((output: { frames_relayed: number }) => output.frames_relayed)).toEqual([
      5, 4,
    ]);
    // The fifth one was relayed to one of them.
    expect(document.frames_relayed).toBe(5);
  });
});

describe("an output whose reader is gone", () => {
  test("is left out, and the relay fails at its end", async () => {
    await using fan = new Fan(["", "", ""], []);
    const before = await fan.share(fan.displays);
    const camera = await fan.camera;
    const held = await (async () => {
      camera.writeFrame(bytesOf(before + 1, SHARED));
      for (const at of [0, 2]) (await next(fan.display(at))).release();
      return await next(fan.display(1));
    })();
    expect(held.isShared).toBe(true);
    fan.display(1).close();
    await fan.relay.logged(`is left out: its reader has left`);
    for (let i = 2; i <= 200; i++) {
      await camera.writeFrameAsync(bytesOf(before + i, SHARED));
      for (const at of [0, 2]) (await next(fan.display(at))).release();
    }
    const { code, document } = await fan.finish();
    expectValid("relay", document);
    expect([code, document.error.code]).toEqual([2, "READER_DEAD"]);
    expect(document.error.message).toContain(`"${fan.display(1).name}"`);
    expect(document.frames_relayed).toBe(before + 200);
    const counts = document.outputs.map((output: { frames_relayed: number }) => output.frames_relayed);
    expect(counts).toEqual([before + 200, before + 1, before + 200]);
    expect(document.outputs[1].sharing).toBe("active");
    expect(document.errors).toEqual([document.error.message]);
    // The others have got all there was.
    expect(await rejectionOf(fan.display(0).readFrameAsync(WAIT_LIMIT_MS))).toMatchObject({ reason: "left" });
  });

  test("ends the relay if it is the last one", async () => {
    await using fan = new Fan(["", ""], []);
    await fan.camera;
    await fan.relay.logged("A writer connected");
    fan.display(0).close();
    await fan.relay.logged("is left out");
    expect(fan.relay.isOver).toBe(false);
    fan.display(1).close();
    const { code, document } = await fan.relay.report();
    expect([code, document.error.code, document.errors.length]).toEqual([2, "READER_DEAD", 2]);
  });

  test("is told of as an event", async () => {
    const [input, display] = [uniqueName(), new Reader(uniqueName(), { payloadSize: 4096 })];
    using other = new Reader(uniqueName(), { payloadSize: 4096 });
    await using relay = Child.cli(["relay", input, display.name, other.name, "--json-lines"]);
    using camera = await Writer.connect(input, { connectTimeoutMs: WAIT_LIMIT_MS });
    await relay.printed(`"buffer":"${display.name}","role":"reader","change":"came"`);
    await relay.printed(`"buffer":"${other.name}","role":"reader","change":"came"`);
    display.close();
    await relay.printed('"change":"left"');
    camera.close();
    const { code, stdout } = await relay.exited();
    expect(code).toBe(2);
    const events = stdout
      .toString()
      .trim()
      .split("\n")
      .map((line) => expectValid("event", JSON.parse(line)));
    const peers = events
      .filter(({ event }) => event === "peer")
      .map(({ buffer, change }) => [buffer, change]);
    expect(peers).toContainEqual([display.name, "came"]);
    expect(peers).toContainEqual([other.name, "came"]);
    expect(peers).toContainEqual([display.name, "left"]);
    const warnings = events.filter(({ event }) => event === "warning").map(({ message }) => message);
    expect(warnings).toEqual([expect.stringContaining(`"${display.name}" is left out`)]);
  });

  test("is waited for with --follow, and the next one shares again", async () => {
    await using fan = new Fan(["", ""], ["--follow"]);
    const before = await fan.share(fan.displays);
    const camera = await fan.camera;
    camera.writeFrame(bytesOf(before + 1, SHARED));
    (await next(fan.display(0))).release();
    const { name } = fan.display(1);
    fan.display(1).close();
    await fan.relay.logged("Waiting for its next reader");
    using again = new Reader(name, { metadataSize: 256, payloadSize: RING }, { allowPayloadSharing: true });
    let isShared = false;
    for (let i = 2; !isShared; i++) {
      await camera.writeFrameAsync(bytesOf(before + i, SHARED));
      (await next(fan.display(0))).release();
      using frame = await next(again);
      isShared = frame.isShared;
    }
    fan.relay.kill("SIGTERM");
    const { code, document } = await fan.relay.report();
    expect([code, document.reconnects]).toEqual([143, 1]);
    expect(document.outputs[1]).toMatchObject({ sharing: "active" });
  });
});

describe("outputs that are named wrongly", () => {
  test.each([
    [["in", "a", "a"], 'Two outputs are both buffer "a".'],
    [["in", "a", "a:drop"], 'Two outputs are both buffer "a".'],
    [["in", "a", "in"], 'Input and output are both buffer "in".'],
    [
      ["in", "a:oops"],
      '<output> takes the name of a buffer, also with :wait or :drop behind it, not "a:oops".',
    ],
    [["in", "a:drop:wait"], "<output> takes"],
    [["in", "a:"], "<output> takes"],
    [["in"], "Argument <output> is missing"],
    [["in", "a", "--max-lag", "0"], "Option --max-lag takes a whole number from 1"],
  ])("%j are refused", async (args, message) => {
    const { code, document } = await runJson("relay", ...args);
    expect([code, document.error.code]).toEqual([3, "USAGE"]);
    expect(document.error.message).toContain(message);
    expectValid("relay", document);
  });

  test("in a bad form are refused before a buffer is made", async () => {
    const { code, document } = await runJson("relay", uniqueName(), uniqueName(), ".no:drop");
    expect([code, document.error.code]).toEqual([3, "INVALID_NAME"]);
  });
});

test("an output may be an address, also with a policy", async () => {
  const [input, output] = [uniqueName(), uniqueName()];
  const address = `shm://${output}:drop?size=8KB&metadata=0`;
  await using relay = Child.cli(["relay", input, address, "--create-output", "--json-output", "-v"]);
  await relay.logged(`Created buffer "${output}" of 8,192 bytes.`);
  using camera = await Writer.connect(input, { connectTimeoutMs: WAIT_LIMIT_MS });
  for (let i = 1; i <= 20; i++) camera.writeFrame(bytesOf(i, 1000));
  using display = new Reader(output);
  (await next(display)).release();
  camera.close();
  const { code, document } = await relay.report();
  expect([code, document.output_buffer]).toEqual([0, output]);
  expect(document.outputs[0].buffer).toBe(output);
  expect(document.frames_relayed + document.frames_dropped).toBe(20);
});

test("people are told what became of each output", async () => {
  const input = uniqueName();
  using shown = new Reader(uniqueName(), { payloadSize: RING });
  using model = new Reader(uniqueName(), { payloadSize: 4096 });
  await using relay = Child.cli(["relay", input, shown.name, `${model.name}:drop`]);
  expect((await run("writer", input, "-n", "10", "-s", "1000", "--follow")).code).toBe(0);
  const { code, stderr } = await relay.exited();
  expect(code).toBe(0);
  expect(stderr).toMatch(
    new RegExp(
      `^Relayed 10 frames \\(9\\.8 KiB\\) from ${input} to 2 buffers in .*\n` +
        `  ${shown.name}: 10 frames\\.\n  ${model.name}: 4 frames, 6 dropped\\.\n$`,
    ),
  );
});

describe("sharing is shown", () => {
  test("by inspect, list and top", async () => {
    await using fan = new Fan([""], []);
    const before = await fan.share(fan.displays);
    const camera = await fan.camera;
    camera.writeFrame(bytesOf(before + 1, SHARED));
    camera.writeFrame(bytesOf(before + 2, SHARED));
    const held = [await next(fan.display(0)), await next(fan.display(0))];
    const { name } = fan.display(0);
    const target = expectValid("inspect", (await runJson("inspect", name)).document);
    expect(target.sharing).toMatchObject({
      ...{ takes_descriptors: true, source: "attached", forwarder_pid: fan.relay.pid },
      ...{ lag_frames: 2, mapped_by_targets: false },
    });
    const source = expectValid("inspect", (await runJson("inspect", fan.input)).document);
    expect(source.sharing).toMatchObject({
      ...{ takes_descriptors: true, source: null, forwarder_pid: null },
      ...{ descriptors_released: 0, lag_frames: null, mapped_by_targets: true },
    });
    const shown = (await run("inspect", name)).stdout.toString();
    expect(shown).toMatch(
      new RegExp(
        `^Sharing +takes frames of other buffers; process ${fan.relay.pid} shares a source, 2 frames not released`,
        "m",
      ),
    );
    expect((await run("inspect", fan.input)).stdout.toString()).toMatch(
      /^Sharing +takes frames of other buffers; readers of other buffers have it mapped$/m,
    );
    const list = (await run("list")).stdout.toString();
    expect(list).toMatch(/^NAME +.*SHARING/);
    expect(list).toMatch(new RegExp(`^${name} +live .* in +\\d`, "m"));
    expect(list).toMatch(new RegExp(`^${fan.input} +live .* out +\\d`, "m"));
    const top = expectValid("top", (await runJson("top")).document);
    const entry = top.buffers.find((buffer: { buffer_name: string }) => buffer.buffer_name === name);
    expect(entry.sharing.lag_frames).toBe(2);
    // The bytes of the frames, not those of their descriptors.
    expect(entry.frame_size).toBe(SHARED);
    for (const frame of held) frame.release();
    await eventually(() => fan.display(0).tryReadFrame().isValid === false);
    expect((await runJson("inspect", name)).document.sharing.lag_frames).toBe(0);
    expect((await fan.finish()).code).toBe(0);
    expect(await rejectionOf(fan.display(0).readFrameAsync(WAIT_LIMIT_MS))).toMatchObject({ reason: "left" });
    expect((await runJson("inspect", name)).document.sharing).toMatchObject({
      source: null,
      forwarder_pid: null,
    });
  });

  test("only where frames are shared: list has no column for it otherwise", async () => {
    using reader = new Reader(uniqueName(), { payloadSize: 4096 });
    const { document } = await runJson("inspect", reader.name);
    expect(document.sharing).toMatchObject({ takes_descriptors: false, source: null });
    expect((await run("inspect", reader.name)).stdout.toString()).not.toContain("Sharing");
  });
});

describe("a reader", () => {
  test.each([
    [[], true],
    [["--no-sharing"], false],
  ])("with %j takes shared frames: %p", async (args, takes) => {
    const [input, output] = [uniqueName(), uniqueName()];
    const common = ["--buffer-size", "256KiB", "--json-output"];
    await using reader = Child.cli(["reader", output, "-v", "--verify", "sequential", ...common, ...args]);
    await reader.logged("Created buffer");
    await using relay = Child.cli(["relay", input, output, ...common]);
    const written = await run("writer", input, "-n", "2000", "-s", "8192", "--follow", "--timeout-ms", "0");
    expect(written.code).toBe(0);
    const [{ document: relayed }, { code, document }] = await Promise.all([relay.report(), reader.report()]);
    expect([code, document.frames_read, document.verification_errors]).toEqual([0, 2000, 0]);
    expect(relayed.outputs[0].frames_shared > 0).toBe(takes);
    expect(relayed.outputs[0].sharing).toBe(takes ? "active" : "off");
  });
});
