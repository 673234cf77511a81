import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { bufferMade, pseudoRandom, uniqueName } from "../support/buffers.ts";
import { Child, runJson } from "../support/process.ts";
import { ask, SMALL, serve, stopped } from "./channels.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "zerobuffer-metadata-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

/** What other programs send: a length before JSON; bytes that are not UTF-8; every byte; a whole block but for its length. */
const SAMPLES: readonly (readonly [what: string, bytes: Uint8Array<ArrayBuffer>])[] = [
  ["a u32 length before JSON", Buffer.concat([Buffer.from([7, 0, 0, 0]), Buffer.from('{"a":1}')])],
  ["bytes that are not UTF-8", Buffer.from([0xff, 0xfe, 0, 0xc3, 0x28, 0x80, 0x0a, 0x0d, 0])],
  ["every byte", Buffer.from(Array.from({ length: 256 }, (_, at) => at))],
  ["as much as there is room for", Uint8Array.from(pseudoRandom(4096 - 8))],
];

describe.each(SAMPLES)("metadata of %s", (_, bytes) => {
  const paths = () => [join(directory, "sent"), join(directory, "received")] as const;

  test("goes from writer through relay to reader unchanged", async () => {
    const [sent, received] = paths();
    writeFileSync(sent, bytes);
    const [input, output] = [uniqueName(), uniqueName()];
    const size = ["--buffer-size", "64KiB"];
    await using reader = Child.cli(["reader", output, ...size, "--metadata-output", received]);
    await bufferMade(output);
    await using relay = Child.cli(["relay", input, output, ...size, "--json-output"]);
    await bufferMade(input);
    const { code, document } = await runJson("writer", input, "-n", "2", "--metadata-file", sent);
    expect([code, document.metadata_size]).toEqual([0, bytes.length]);
    expect((await relay.report()).document.metadata_size).toBe(bytes.length);
    expect((await reader.exited()).code).toBe(0);
    expect(readFileSync(received)).toEqual(Buffer.from(bytes));
  });

  test("goes from duplex request to duplex serve and its program unchanged", async () => {
    const [sent, received] = paths();
    writeFileSync(sent, bytes);
    const channel = uniqueName();
    const exec = [process.execPath, join(import.meta.dir, "fixtures", "metadata-answerer.ts")].join(" ");
    await using server = await serve(channel, "--metadata-output", received, "--exec", exec);
    const answer = join(directory, "answer");
    const { code, document } = await ask(channel, "-n", "1", "--metadata-file", sent, "-o", answer);
    expect([code, document.metadata_size]).toEqual([0, bytes.length]);
    expect(readFileSync(answer)).toEqual(Buffer.concat([Buffer.of(1), bytes]));
    await stopped(server);
    expect(readFileSync(received)).toEqual(Buffer.from(bytes));
  });
});

describe("duplex request", () => {
  test("refuses two sources of metadata, and an empty file, before it touches the channel", async () => {
    const channel = uniqueName();
    writeFileSync(join(directory, "empty"), "");
    for (const [args, code, message] of [
      [["--metadata", "a", "--metadata-file", "/etc/hostname"], 3, "Options --metadata and --metadata-file"],
      [["--metadata-file", join(directory, "empty")], 3, "The file of --metadata-file"],
      [["--metadata-file", join(directory, "missing")], 2, `Cannot read ${join(directory, "missing")}`],
    ] as const) {
      const { document, ...outcome } = await runJson("duplex", "request", channel, ...args);
      expect([outcome.code, document.error.message]).toEqual([code, expect.stringContaining(message)]);
    }
  });
});

describe("duplex serve --metadata-output", () => {
  test("has the metadata of the last client that sent any", async () => {
    const path = join(directory, "metadata");
    writeFileSync(path, "old");
    const channel = uniqueName();
    await using server = await serve(channel, "--metadata-output", path);
    expect(readFileSync(path, "utf8")).toBe("old");
    await ask(channel, "-n", "1", "-m", "a longer one");
    await ask(channel, "-n", "1", "-m", "shorter");
    await ask(channel, "-n", "1");
    await stopped(server);
    expect(readFileSync(path, "utf8")).toBe("shorter");
  });

  test("that cannot be opened ends the server before it has a channel", async () => {
    const channel = uniqueName();
    const path = join(directory, "missing", "metadata");
    const { code, document } = await runJson("duplex", "serve", channel, ...SMALL, "--metadata-output", path);
    expect([code, document.error.code]).toEqual([2, "IO_ERROR"]);
    expect(existsSync(`/dev/shm/${channel}_request`)).toBe(false);
  });

  test("that cannot be written is IO_ERROR with code 2", async () => {
    const channel = uniqueName();
    await using server = await serve(channel, "--metadata-output", "/dev/full");
    await ask(channel, "-n", "1", "-m", "text");
    const { code, document } = await server.report();
    expect([code, document.error]).toMatchObject([
      2,
      { code: "IO_ERROR", message: "Cannot write /dev/full: no space left on device." },
    ]);
  });

  test("that its reader closes lets the server go on", async () => {
    const path = join(directory, "pipe");
    expect(Bun.spawnSync(["mkfifo", path]).exitCode).toBe(0);
    await using listener = Child.program(["cat", path]);
    const channel = uniqueName();
    await using server = await serve(channel, "--metadata-output", path);
    await ask(channel, "-n", "1", "-m", "first");
    await listener.printed("first");
    listener.kill("SIGKILL");
    await listener.exited();
    for (const text of ["second", "third"]) expect((await ask(channel, "-n", "1", "-m", text)).code).toBe(0);
    expect(await stopped(server)).toMatchObject({ clients: 3, responses: 3, error: { code: "INTERRUPTED" } });
  });
});

describe("ZEROBUFFER_METADATA_FILE", () => {
  const exec = [process.execPath, join(import.meta.dir, "fixtures", "metadata-answerer.ts")].join(" ");

  /** The metadata that the program finds at each of some requests of a client. */
  async function found(channel: string, requests: number, ...args: string[]): Promise<string[]> {
    const path = join(directory, "answers");
    const options = ["-n", `${requests}`, "-o", path, "--framing", "length-prefixed"];
    expect((await ask(channel, ...options, ...args)).code).toBe(0);
    const answers: string[] = [];
    for (let bytes = readFileSync(path); bytes.length > 0; ) {
      const end = 4 + bytes.readUInt32LE(0);
      answers.push(bytes.toString("utf8", 5, end));
      bytes = bytes.subarray(end);
    }
    return answers;
  }

  test("names a file with the metadata of each client, from its first request on", async () => {
    const channel = uniqueName();
    await using server = await serve(channel, "--exec", exec);
    expect(await found(channel, 2, "-m", "first")).toEqual(["first", "first"]);
    expect(await found(channel, 1, "-m", "first")).toEqual(["first"]);
    expect(await found(channel, 1)).toEqual([""]);
    const [video = ""] = await found(channel, 1, "--video", "4x3:RGB@30");
    expect(JSON.parse(video).caps).toContain("width=(int)4, height=(int)3");
    await stopped(server);
  });

  /** A server whose program tells this test where its file is, and how large at its start, and then answers with the request. */
  async function serveTelling(channel: string) {
    const place = join(directory, "place");
    const tell = `wc -c <"$ZEROBUFFER_METADATA_FILE" >${place}.size; printf %s "$ZEROBUFFER_METADATA_FILE" >${place}`;
    const server = await serve(channel, "--exec", `${tell}; echo told >&2; exec cat`);
    await server.logged("\ntold\n");
    return { server, path: readFileSync(place, "utf8"), size: Number(readFileSync(`${place}.size`, "utf8")) };
  }

  test.each(["SIGINT", "SIGTERM"] as const)(
    "names an empty file until a client has sent metadata, and none after %s",
    async (signal) => {
      const channel = uniqueName();
      const { server: started, path, size } = await serveTelling(channel);
      await using server = started;
      expect([size, statSync(dirname(path)).mode & 0o777]).toEqual([0, 0o700]);
      expect((await ask(channel, "-n", "1", "-m", "text")).code).toBe(0);
      expect(readFileSync(path, "utf8")).toBe("text");
      server.kill(signal);
      await server.exited();
      expect(existsSync(dirname(path))).toBe(false);
    },
  );

  test("is replaced in one step: a file that is still open keeps what it had", async () => {
    const channel = uniqueName();
    const { server: started, path } = await serveTelling(channel);
    await using server = started;
    expect((await ask(channel, "-n", "1", "-m", "the metadata of the first client")).code).toBe(0);
    const open = openSync(path, "r");
    expect((await ask(channel, "-n", "1", "-m", "another")).code).toBe(0);
    const found = [readFileSync(open, "utf8"), readFileSync(path, "utf8"), readdirSync(dirname(path))];
    closeSync(open);
    expect(found).toEqual(["the metadata of the first client", "another", ["metadata"]]);
    await stopped(server);
  });

  test("has no file where nothing is executed", async () => {
    const channel = uniqueName();
    const args = ["duplex", "serve", channel, ...SMALL, "--json-output", "-v"];
    await using server = Child.cli(args, { env: { TMPDIR: directory } });
    await server.logged(`Created channel "${channel}"`);
    expect(readdirSync(directory).filter((name) => name.startsWith("zerobuffer-exec-"))).toEqual([]);
    await stopped(server);
  });

  test("is in shared memory where there is no directory of temporary files", async () => {
    const channel = uniqueName();
    const args = ["duplex", "serve", channel, ...SMALL, "--json-output", "-v"];
    const tell = `printf %s "$ZEROBUFFER_METADATA_FILE" >${join(directory, "place")}; echo told >&2; exec cat`;
    const env = { TMPDIR: join(directory, "missing"), BUN_TMPDIR: directory };
    await using server = Child.cli([...args, "--exec", tell], { env });
    await server.logged("\ntold\n");
    const path = readFileSync(join(directory, "place"), "utf8");
    expect(path).toStartWith("/dev/shm/zerobuffer-exec-");
    expect((await ask(channel, "-n", "1", "-m", "text")).code).toBe(0);
    expect(readFileSync(path, "utf8")).toBe("text");
    await stopped(server);
    expect(existsSync(dirname(path))).toBe(false);
  });
});
