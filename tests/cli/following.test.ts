import { describe, expect, test } from "bun:test";
import { Reader, Writer } from "../../src/core/index.ts";
import { bufferFull, bufferMade, rejectionOf, uniqueName, WAIT_LIMIT_MS } from "../support/buffers.ts";
import { Child } from "../support/process.ts";
import { expectValid } from "../support/schemas.ts";

const SIZES = { payloadSize: 4096, metadataSize: 256 };
const LOST = "Waiting for its next reader";

/** The text of the next frame. */
async function nextText(reader: Reader): Promise<string> {
  using frame = await reader.readFrameAsync(WAIT_LIMIT_MS);
  return Buffer.from(frame.data).toString();
}

/** The text of the metadata. */
function metadataOf(reader: Reader): string {
  return Buffer.from(reader.getMetadata()).toString();
}

/** A writer of lines that the test types. */
function typist(name: string, ...args: string[]): Child {
  const options = ["-i", "-", "--framing", "lines", "-v", "--json-output", ...args];
  return Child.cli(["writer", name, ...options], { stdin: "pipe" });
}

/** A reader that is killed, so that its buffer stays. */
async function killedReader(name: string, isAwaited: (reader: Child) => Promise<void>): Promise<void> {
  await using reader = Child.cli(["reader", name, "--buffer-size", "4096", "--timeout-ms", "0", "-v"]);
  await isAwaited(reader);
  reader.kill("SIGKILL");
  await reader.exited();
}

describe("writer --follow", () => {
  test("waits for the first reader, and holds frames for the next one, to which it sends its metadata again", async () => {
    const name = uniqueName();
    await using writer = typist(name, "--follow", "-m", "about");
    writer.write("one\n");
    {
      using reader = new Reader(name, SIZES);
      expect(await nextText(reader)).toBe("one");
      expect(metadataOf(reader)).toBe("about");
    }
    writer.write("two\nthree\n");
    await writer.logged(LOST);
    using reader = new Reader(name, SIZES);
    expect(await nextText(reader)).toBe("two");
    expect(await nextText(reader)).toBe("three");
    expect(metadataOf(reader)).toBe("about");
    writer.closeStdin();
    const { code, document } = await writer.report();
    expect(code).toBe(0);
    expectValid("writer", document);
    expect(document).toMatchObject({ frames_written: 3, frames_dropped: 0, reconnects: 1, metadata_size: 5 });
    expect(await rejectionOf(reader.readFrameAsync(WAIT_LIMIT_MS))).toMatchObject({ reason: "left" });
  });

  test("goes on with the rest of frames that a full buffer has kept waiting", async () => {
    const name = uniqueName();
    await using writer = Child.cli(`writer ${name} -s 1000 -n 20 --follow --json-output`);
    {
      using reader = new Reader(name, SIZES);
      // The writer waits for room with the first frame that does not fit, and goes on to wait with those after it.
      for (let k = 0; k < 8; k++) {
        using frame = await reader.readFrameAsync(WAIT_LIMIT_MS);
        expect(frame.data[0]).toBe(k);
      }
      await bufferFull(name, 1000);
    }
    // Four were written that nobody has read.
    using reader = new Reader(name, SIZES);
    for (let k = 12; k < 20; k++) {
      using frame = await reader.readFrameAsync(WAIT_LIMIT_MS);
      expect([frame.sequence, frame.data[0]]).toEqual([k - 11, k]);
    }
    const { code, document } = await writer.report();
    expect([code, document.frames_written, document.bytes_written]).toEqual([0, 20, 20_000]);
  });

  test("goes on with a large frame for which there was no room", async () => {
    const name = uniqueName();
    const size = 5 * 2 ** 20;
    await using writer = Child.cli(`writer ${name} -s ${size} -n 3 --follow --json-output`);
    {
      using _reader = new Reader(name, { payloadSize: 2 * (size + 64) });
      await bufferFull(name, size);
    }
    using reader = new Reader(name, { payloadSize: 2 * (size + 64) });
    using frame = await reader.readFrameAsync(WAIT_LIMIT_MS);
    expect([frame.size, frame.data[0]]).toEqual([size, 2]);
    const { document } = await writer.report();
    expect([document.frames_written, document.reconnects]).toEqual([3, 1]);
  });

  test("finds out while it is idle that its reader was killed, and takes the next one", async () => {
    const name = uniqueName();
    await using writer = typist(name, "--follow");
    await killedReader(name, (reader) => reader.logged("A writer connected"));
    await writer.logged(LOST);
    using reader = new Reader(name, SIZES);
    expect(await reader.isWriterConnectedAsync(WAIT_LIMIT_MS)).toBe(true);
    writer.write("still here\n").closeStdin();
    expect(await nextText(reader)).toBe("still here");
    expect((await writer.report()).code).toBe(0);
  });

  test("drops frames while there is no reader with --on-full drop, and counts them", async () => {
    const name = uniqueName();
    await using writer = typist(name, "--follow", "--on-full", "drop");
    writer.write("one\n");
    {
      using reader = new Reader(name, SIZES);
      expect(await nextText(reader)).toBe("one");
    }
    await writer.logged(LOST);
    writer.write("two\nthree\n").closeStdin();
    const { code, document } = await writer.report();
    expect(code).toBe(0);
    expect(document).toMatchObject({ frames_written: 1, frames_dropped: 2, reconnects: 0 });
  });

  test("goes on with the next reader after dropping", async () => {
    const name = uniqueName();
    await using writer = Child.cli(`writer ${name} -n 0 --rate 100 --follow --on-full drop -v --json-output`);
    new Reader(name, SIZES)[Symbol.dispose]();
    using first = new Reader(name, SIZES);
    await first.readFrameAsync(WAIT_LIMIT_MS);
    first.close();
    await writer.logged(LOST);
    using second = new Reader(name, SIZES);
    using frame = await second.readFrameAsync(WAIT_LIMIT_MS);
    expect(frame.sequence).toBe(1);
    writer.kill("SIGINT");
    const { code, document } = await writer.report();
    expect([code, document.reconnects]).toEqual([130, 1]);
  });

  test("ends as without it with --on-full fail", async () => {
    const name = uniqueName();
    await using writer = typist(name, "--follow", "--on-full", "fail");
    writer.write("one\n");
    using reader = new Reader(name, SIZES);
    expect(await nextText(reader)).toBe("one");
    reader.close();
    const { code, document } = await writer.report();
    expect([code, document.error.code]).toEqual([2, "READER_DEAD"]);
  });

  test.each([[[]], [["--on-full", "drop"]]])(
    "waits for the next reader no longer than --connect-timeout-ms, with %p",
    async (args) => {
      const name = uniqueName();
      const reader = new Reader(name, SIZES);
      const options = ["-n", "0", "--rate", "100", "--follow", "--connect-timeout-ms", "50", "--json-output"];
      await using writer = Child.cli(["writer", name, ...options, ...args]);
      await reader.readFrameAsync(WAIT_LIMIT_MS);
      reader.close();
      const { code, document } = await writer.report();
      expect([code, document.error.code]).toEqual([1, "BUFFER_NOT_FOUND"]);
    },
  );

  test("is ended by a signal while it waits for the next reader, and refuses one that its frames do not fit", async () => {
    const name = uniqueName();
    await using writer = typist(name, "--follow");
    new Reader(name, SIZES).close();
    {
      using _reader = new Reader(name, SIZES);
      await writer.logged("Connected to buffer");
    }
    await writer.logged(LOST);
    writer.write("held\n");
    writer.kill("SIGINT");
    expect((await writer.report()).code).toBe(130);

    await using paced = Child.cli(`writer ${name} -s 1000 -n 0 --rate 50 --follow --json-output -v`);
    {
      using reader = new Reader(name, SIZES);
      await reader.readFrameAsync(WAIT_LIMIT_MS);
    }
    await paced.logged(LOST);
    using small = new Reader(name, { payloadSize: 512 });
    const { code, document } = await paced.report();
    expect([code, document.error.code]).toEqual([3, "FRAME_TOO_LARGE"]);
    // It has not seen a writer come and go.
    expect(small.tryReadFrame().isValid).toBe(false);
  });
});

describe("relay --follow", () => {
  /** A relay whose ends come and go, and its names. */
  function relayOf(...args: string[]) {
    const input = uniqueName();
    const output = uniqueName();
    const options = ["--buffer-size", "4096", "--follow", "-v", "--json-output", ...args];
    return { input, output, relay: Child.cli(["relay", input, output, ...options]) };
  }

  test("goes on with the next writer and the next reader, with the metadata of each writer", async () => {
    const { input, output, relay: child } = relayOf();
    await using relay = child;
    /** A writer of the input. */
    const open = (metadata: string) =>
      Writer.connect(input, { connectTimeoutMs: WAIT_LIMIT_MS, metadata: Buffer.from(metadata) });
    using first = await (async () => {
      using shown = new Reader(output, SIZES);
      const camera = await open("first");
      camera.writeFrame(Buffer.from("1"));
      expect(await nextText(shown)).toBe("1");
      expect(metadataOf(shown)).toBe("first");
      return camera;
    })();
    await relay.logged(LOST);
    first.writeFrame(Buffer.from("2"));
    using shown = new Reader(output, SIZES);
    expect(await nextText(shown)).toBe("2");
    expect(metadataOf(shown)).toBe("first");
    first.close();
    {
      using camera = await open("first");
      camera.writeFrame(Buffer.from("3"));
      // The same metadata: the reader sees one writer.
      using frame = await shown.readFrameAsync(WAIT_LIMIT_MS);
      expect([Buffer.from(frame.data).toString(), frame.sequence]).toEqual(["3", 2]);
    }
    {
      using camera = await open("second");
      camera.writeFrame(Buffer.from("4"));
      // Other metadata: the reader sees another writer, unless that comes while it does not look.
      using frame = await shown
        .readFrameAsync(WAIT_LIMIT_MS)
        .catch(() => shown.readFrameAsync(WAIT_LIMIT_MS));
      expect([Buffer.from(frame.data).toString(), frame.sequence]).toEqual(["4", 1]);
      expect(metadataOf(shown)).toBe("second");
    }
    relay.kill("SIGTERM");
    const { code, document } = await relay.report();
    expect(code).toBe(143);
    expectValid("relay", document);
    expect(document).toMatchObject({ frames_relayed: 4, reconnects: 1, metadata_size: 6 });
  });

  test("drops frames for which there is no reader, or no room, with --on-full drop", async () => {
    const { input, output, relay: child } = relayOf("--on-full", "drop", "-n", "12");
    await using relay = child;
    using camera = await Writer.connect(input, { connectTimeoutMs: WAIT_LIMIT_MS });
    {
      using _shown = new Reader(output, SIZES);
      for (let i = 0; i < 6; i++) await camera.writeFrameAsync(new Uint8Array(1000));
      await bufferFull(output, 1000);
    }
    await relay.logged(LOST);
    for (let i = 0; i < 6; i++) await camera.writeFrameAsync(new Uint8Array(1000));
    const { code, document } = await relay.report();
    expect(code).toBe(0);
    expect(document).toMatchObject({ frames_relayed: 4, frames_dropped: 8 });
  });

  test("makes its output anew with --create-output, where frames wait for the next reader", async () => {
    const { input, output, relay: child } = relayOf("--create-output");
    await using relay = child;
    using camera = await Writer.connect(input, { connectTimeoutMs: WAIT_LIMIT_MS });
    camera.writeFrame(Buffer.from("1"));
    await bufferMade(output);
    {
      using shown = new Reader(output, SIZES);
      expect(await nextText(shown)).toBe("1");
    }
    await relay.logged("Connected to the next reader");
    camera.writeFrame(Buffer.from("2"));
    await relay.logged("Connected to the next reader");
    using shown = new Reader(output, SIZES);
    expect(await nextText(shown)).toBe("2");
    relay.kill("SIGTERM");
    expect((await relay.report()).code).toBe(143);
  });
});

describe("a command that fails tells the reader of its buffer", () => {
  test("a writer whose input is cut", async () => {
    const name = uniqueName();
    using reader = new Reader(name, SIZES);
    const record = new Uint8Array([3, 0, 0, 0, 1, 2, 3, 9, 0, 0, 0, 1]);
    await using writer = Child.cli(
      ["writer", name, "-i", "-", "--framing", "length-prefixed", "--json-output"],
      { stdin: record },
    );
    const { code, document } = await writer.report();
    expect([code, document.error.code, document.frames_written]).toEqual([2, "IO_ERROR", 1]);
    expect((await reader.readFrameAsync(WAIT_LIMIT_MS)).toArray()).toEqual(new Uint8Array([1, 2, 3]));
    expect(await rejectionOf(reader.readFrameAsync(WAIT_LIMIT_MS))).toMatchObject({ reason: "died" });
  });

  test("a relay whose input's writer was killed", async () => {
    const input = uniqueName();
    using shown = new Reader(uniqueName(), SIZES);
    await using relay = Child.cli(["relay", input, shown.name, "--buffer-size", "4096", "--json-output"]);
    await using camera = Child.cli(["writer", input, "-n", "0", "--rate", "20", "-s", "10"]);
    await shown.readFrameAsync(WAIT_LIMIT_MS);
    camera.kill("SIGKILL");
    const { code, document } = await relay.report();
    expect([code, document.error.code]).toEqual([2, "WRITER_DEAD"]);
    const error = await rejectionOf(
      (async () => {
        for (;;) (await shown.readFrameAsync(WAIT_LIMIT_MS)).release();
      })(),
    );
    expect(error).toMatchObject({ code: "WRITER_DEAD", reason: "died" });
  });

  test("not one that is stopped by a signal: it leaves", async () => {
    const name = uniqueName();
    using reader = new Reader(name, SIZES);
    await using writer = Child.cli(["writer", name, "-n", "0", "--rate", "20", "-s", "10"]);
    await reader.readFrameAsync(WAIT_LIMIT_MS);
    writer.kill("SIGTERM");
    expect((await writer.exited()).code).toBe(143);
    const error = await rejectionOf(
      (async () => {
        for (;;) (await reader.readFrameAsync(WAIT_LIMIT_MS)).release();
      })(),
    );
    expect(error).toMatchObject({ code: "WRITER_DEAD", reason: "left" });
  });
});
