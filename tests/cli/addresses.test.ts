import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { Reader } from "../../src/core/index.ts";
import { bufferMade, uniqueName } from "../support/buffers.ts";
import { Child, run, runJson } from "../support/process.ts";
import { SMALL, stopped } from "./channels.ts";
import { shm } from "./stale-buffers.ts";

/** The sizes of the buffer's metadata block and ring. */
async function sizesOf(name: string) {
  const { document } = await runJson("inspect", name);
  return [document.oieb.metadata_size, document.payload_size];
}

describe("an address in place of a name", () => {
  test("makes a reader's buffer of these sizes, and takes a writer to it", async () => {
    const name = uniqueName();
    const address = `shm://${name}?size=2MB&metadata=8KB&mode=OneWay&preview=true&fps=30`;
    await using reader = Child.cli(["reader", address, "--json-output", "-v"]);
    await bufferMade(name);
    expect(await sizesOf(`shm://${name}?size=1KB`)).toEqual([8192, 2 * 2 ** 20]);
    const written = await run("writer", address, "-n", "10", "--json-output", "-v");
    expect(written.code).toBe(0);
    expect(JSON.parse(written.stdout.toString())).toMatchObject({ buffer_name: name, frames_written: 10 });
    const { code, document, stderr } = await reader.report();
    expect([code, document.buffer_name, document.frames_read]).toEqual([0, name, 10]);
    const line = `info: Ignored in address shm://${name}: "preview", "fps".\n`;
    expect([stderr, written.stderr].map((log) => log.split(line).length - 1)).toEqual([1, 1]);
  });

  test("ignores unknown keys without a word unless -v is given", async () => {
    const { stderr } = await run("writer", `shm://${uniqueName()}?fps=30`, "--connect-timeout-ms", "0");
    expect(stderr).not.toContain("fps");
  });

  test("comes after options that are given, and before the environment", async () => {
    const name = uniqueName();
    const env = { ZEROBUFFER_BUFFER_SIZE: "3MiB", ZEROBUFFER_METADATA_SIZE: "1KiB" };
    const args = ["reader", `shm://${name}?size=1MB&metadata=2KB`, "--buffer-size", "5MiB"];
    await using reader = Child.cli(args, { env });
    await bufferMade(name);
    expect(await sizesOf(name)).toEqual([2048, 5 * 2 ** 20]);
    reader.kill("SIGTERM");
    expect((await reader.exited()).code).toBe(143);
  });

  test("sizes each of the two buffers that a relay makes", async () => {
    const [input, output] = [uniqueName(), uniqueName()];
    const addresses = [`shm://${input}?size=1MB&metadata=1KB`, `shm://${output}?size=2MB`];
    await using relay = Child.cli(["relay", ...addresses, "--create-output", "--json-output"]);
    await bufferMade(output);
    expect([await sizesOf(input), await sizesOf(output)]).toEqual([
      [1024, 2 ** 20],
      [4096, 2 ** 21],
    ]);
    relay.kill("SIGTERM");
    const { document } = await relay.report();
    expect(document).toMatchObject({ input_buffer: input, output_buffer: output });
    expect((await runJson("relay", `shm://${input}`, input)).document.error.message).toBe(
      `Input and output are both buffer "${input}".`,
    );
  });

  test("names a channel for both of its sides, and sizes the buffer that each makes", async () => {
    const channel = uniqueName();
    const address = `shm://${channel}?size=1MB&metadata=2KB&mode=Duplex`;
    await using server = Child.cli(["duplex", "serve", address, "--json-output", "-v"]);
    await server.logged(`Created channel "${channel}"`);
    expect(await sizesOf(`${channel}_request`)).toEqual([2048, 2 ** 20]);
    const requests = ["-n", "0", "-i", "-", "--framing", "lines"];
    await using client = Child.cli(["duplex", "request", address, ...requests, "--json-output"], {
      stdin: "pipe",
    });
    await bufferMade(`${channel}_response`);
    expect((await sizesOf(`${channel}_response`))[1]).toBe(2 ** 20);
    client.write("question\n");
    client.closeStdin();
    const { code, document } = await client.report();
    expect([code, document.channel, document.responses]).toEqual([0, channel, 1]);
    expect((await stopped(server)).channel).toBe(channel);
  });

  test("may be cleaned and inspected", async () => {
    const name = uniqueName();
    using _ = new Reader(name, { payloadSize: 4096 });
    const { code, document } = await runJson("clean", `shm://${name}?size=1MB`);
    expect([code, document.left[0].buffer_name]).toEqual([1, name]);
    expect((await runJson("inspect", `shm://${name}`)).document.buffer_name).toBe(name);
  });
});

describe("a bad address", () => {
  const long = "x".repeat(10_000);

  test.each(
    [
      ["reader", "?size=many"],
      ["reader", "?mode=Duplex"],
      ["writer", "?metadata=4%20KB"],
      ["writer", "?mode=Duplex"],
      ["relay", "?size=1MB&size=-1"],
      ["duplex serve", "?mode=OneWay"],
      ["duplex request", "?mode=maybe"],
      ["inspect", "?size="],
      ["clean", "?mode=Duplex"],
      ["reader", `?size=${long}`],
      ["writer", `?mode=${long}`],
    ].map(([command = "", query = ""]) => ({ command, query, shown: query.slice(0, 30) })),
  )("of $command, $shown, is a usage error that touches no buffer", async ({ command, query }) => {
    const name = uniqueName();
    const names = command === "relay" ? [`shm://${name}${query}`, uniqueName()] : [`shm://${name}${query}`];
    const words = command.split(" ");
    const { code, document } = await runJson(...words, ...names);
    expect([code, document.error.code]).toEqual([3, "USAGE"]);
    expect(document.error.message).toContain(`address shm://${name} `);
    expect(JSON.stringify(document).length).toBeLessThan(3000);
    if ("buffer_name" in document) expect(document.buffer_name).toBe(name);
    expect(existsSync(shm(name))).toBe(false);
    expect(existsSync(shm(`${name}_request`))).toBe(false);
  });

  test.each(
    [
      ["of no name", "shm://?size=1MB"],
      ["with a percent sign in the name", "shm://c%61m"],
      ["with a path", "shm://../../etc/passwd"],
      ["with 10 KB of name", `shm://${long}`],
    ].map(([what = "", address = ""]) => ({ what, address })),
  )("$what has no valid name", async ({ address }) => {
    for (const command of ["reader", "writer", "inspect", "clean"]) {
      const { code, document } = await runJson(command, address);
      expect([code, document.error.code]).toEqual([3, "INVALID_NAME"]);
    }
  });

  test("stands behind a wrong option", async () => {
    const { document } = await runJson("reader", `shm://${uniqueName()}?size=x`, "--framse");
    expect(document.error.message).toBe("Unknown option --framse.");
  });

  test("leaves the buffer of that name alone", async () => {
    const name = uniqueName();
    using reader = new Reader(name, { payloadSize: 4096 });
    const { code } = await runJson("writer", `shm://${name}?size=x`);
    expect([code, reader.isWriterConnected(0), reader.tryReadFrame().isValid]).toEqual([3, false, false]);
  });
});

describe("a name of the other kind", () => {
  test("makes a writer and a relay point to duplex request", async () => {
    const channel = uniqueName();
    await using server = Child.cli(["duplex", "serve", channel, ...SMALL, "--json-output", "-v"]);
    await server.logged(`Created channel "${channel}"`);
    const once = ["--connect-timeout-ms", "1"];
    for (const args of [
      ["writer", channel],
      ["relay", uniqueName(), channel, "--buffer-size", "1MiB"],
    ]) {
      const { code, document } = await runJson(...args, ...once);
      expect([code, document.error]).toEqual([
        1,
        {
          code: "BUFFER_NOT_FOUND",
          message: `There is no buffer "${channel}", but a duplex channel of that name.`,
          hint: `Run zerobuffer duplex request ${channel} to send it requests.`,
        },
      ]);
    }
    const hinted = await runJson("duplex", "request", channel, "-n", "1");
    expect(hinted.code).toBe(0);
    await stopped(server);
  });

  test("makes duplex request point to writer", async () => {
    const name = uniqueName();
    using reader = new Reader(name, { payloadSize: 4096 });
    const { code, document } = await runJson("duplex", "request", name, "--connect-timeout-ms", "0");
    expect([code, document.error]).toEqual([
      1,
      {
        code: "BUFFER_NOT_FOUND",
        message: `There is no duplex channel "${name}", but a one-way buffer of that name.`,
        hint: `Run zerobuffer writer ${name} to write frames to it.`,
      },
    ]);
    expect(reader.isWriterConnected(0)).toBe(false);
    expect((await runJson("writer", name, "-n", "1")).code).toBe(0);
  });

  test("is not named where nothing is there, or only what a dead process has left", async () => {
    const name = uniqueName();
    const once = ["--connect-timeout-ms", "0"];
    const message = async () => (await runJson("writer", name, ...once)).document.error.message;
    expect(await message()).toBe(`There is no buffer "${name}".`);
    await using server = Child.cli(["duplex", "serve", name, ...SMALL, "-v"]);
    await server.logged(`Created channel "${name}"`);
    server.kill("SIGKILL");
    await server.exited();
    expect(await message()).toBe(`There is no buffer "${name}".`);
    expect((await runJson("clean", `${name}_request`)).code).toBe(0);
  });
});
