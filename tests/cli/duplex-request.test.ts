import { describe, expect, test } from "bun:test";
import { uniqueName } from "../support/buffers.ts";
import { Child, run, runJson } from "../support/process.ts";
import { expectValid } from "../support/schemas.ts";
import { ask, program, SMALL, serve, stopped } from "./channels.ts";

/** A client that sends the lines of its stdin, and writes the responses as lines. */
const asking = (channel: string) => [
  "duplex",
  "request",
  channel,
  ...SMALL,
  ..."-i - -o - --framing lines --json-output".split(" "),
];

describe("a client", () => {
  test("waits for its server", async () => {
    const channel = uniqueName();
    await using client = Child.cli([
      "duplex",
      "request",
      channel,
      ...SMALL,
      "-n",
      "5",
      "--json-output",
      "-v",
    ]);
    await using server = await serve(channel);
    expect((await client.report()).code).toBe(0);
    await stopped(server);
  });

  test("without a server ends with code 1", async () => {
    const { code, document } = await ask(uniqueName(), "--connect-timeout-ms", "0");
    expect(code).toBe(1);
    expect(document.error).toEqual({
      code: "BUFFER_NOT_FOUND",
      message: `Channel "${document.channel}" has no server.`,
      hint: "Start the server (zerobuffer duplex serve), or raise --connect-timeout-ms.",
    });
    expectValid("duplex-request", document);
  });

  test("beside another one ends with code 1, and says so", async () => {
    const channel = uniqueName();
    await using server = await serve(channel);
    await using first = Child.cli(["duplex", "request", channel, ...SMALL, "-n", "0", "--json-output"]);
    await server.logged("A client has connected");
    const { code, document } = await ask(channel, "--connect-timeout-ms", "0");
    expect(code).toBe(1);
    expect(document.error).toMatchObject({
      code: "WRITER_ALREADY_CONNECTED",
      message: `Channel "${channel}" already has a client (process ${first.pid}).`,
    });
    first.kill("SIGINT");
    await first.exited();
    await stopped(server);
  });

  test("is told the limits of its server", async () => {
    const channel = uniqueName();
    await using server = await serve(channel, "--metadata-size", "64");
    for (const [args, error] of [
      [["-s", "2MiB"], "FRAME_TOO_LARGE"],
      [["-m", "x".repeat(100)], "METADATA_TOO_LARGE"],
    ] as const) {
      const { code, document } = await ask(channel, ...args);
      expect([code, document.error.code]).toEqual([3, error]);
      expect(document.error.hint).toContain("the server with a larger");
    }
    await stopped(server);
  });

  test("has room for responses as large as its requests, unless it is told otherwise", async () => {
    const channel = uniqueName();
    for (const [server, args, size] of [
      ["1MiB", [], "256MiB"],
      ["257MiB", [], "257MiB"],
      ["257MiB", SMALL, "1MiB"],
    ] as const) {
      await using serving = Child.cli(["duplex", "serve", channel, "--buffer-size", server, "-v"]);
      await serving.logged("Created channel");
      await using client = Child.cli(["duplex", "request", channel, "-i", "-", "-v", ...args], {
        stdin: "pipe",
      });
      await client.logged("Connected to channel");
      const { document } = await runJson("inspect", `${channel}_response`);
      expect(document.oieb.payload_size).toBe(Number.parseInt(size, 10) * 2 ** 20);
      expect((await client.end()).code).toBe(0);
      serving.kill("SIGTERM");
      expect((await serving.exited()).code).toBe(143);
    }
  });

  test("reads the responses of a mutable server where they are, unless it is told not to", async () => {
    const modes = [
      // The first one may be written before the client has answered.
      { mode: "mutable", args: [], least: 299 },
      { mode: "mutable", args: ["--in-flight", "16"], least: 1 },
      { mode: "mutable", args: ["--no-sharing"], least: 0 },
      { mode: "immutable", args: [], least: 0 },
    ];
    for (const { mode, args, least } of modes) {
      const channel = uniqueName();
      await using server = await serve(channel, "--mode", mode, "--handler", "xor");
      const frames = ["-n", "300", "-s", "100KiB", "--verify", "xor"];
      const { code, document } = await ask(channel, ...frames, ...args);
      expect(code).toBe(0);
      expectValid("duplex-request", document);
      const { responses, responses_shared } = document;
      expect(responses).toBe(300);
      if (least === 0) expect(responses_shared).toBe(0);
      else expect(responses_shared).toBeGreaterThanOrEqual(least);
      expect(await stopped(server)).toMatchObject({ responses, responses_shared });
    }
  });

  test("whose server is killed ends with code 2", async () => {
    const channel = uniqueName();
    await using server = await serve(channel);
    await using client = Child.cli(["duplex", "request", channel, ...SMALL, "-n", "0", "--json-output"]);
    await server.logged("A client has connected");
    server.kill("SIGKILL");
    const { code, document } = await client.report();
    expect(code).toBe(2);
    expect(["READER_DEAD", "WRITER_DEAD"]).toContain(document.error.code);
    expect(document.error.message).toBe(`The server of channel "${channel}" has died.`);
    expectValid("duplex-request", document);
    // What the killed server has left is removed by the next one.
    await using next = await serve(channel);
    await stopped(next);
  });

  test("whose server stops ends with code 2", async () => {
    const channel = uniqueName();
    await using server = await serve(channel);
    await using client = Child.cli(["duplex", "request", channel, ...SMALL, "-n", "0", "--json-output"]);
    await server.logged("A client has connected");
    await stopped(server);
    const { code, document } = await client.report();
    expect(code).toBe(2);
    expect(["READER_DEAD", "WRITER_DEAD"]).toContain(document.error.code);
    expect(document.error.message).toBe(`The server of channel "${channel}" has left.`);
  });

  test("whose server stops before the response to its last request ends with code 2", async () => {
    const channel = uniqueName();
    await using server = await serve(channel, "--delay-ms", "60000");
    await using client = Child.cli(["duplex", "request", channel, ...SMALL, "-n", "1", "--json-output"]);
    await server.logged("A client has connected");
    await stopped(server);
    const { code, document } = await client.report();
    expect([code, document.responses]).toEqual([2, 0]);
    expect(document.error.message).toBe(`The server of channel "${channel}" has left.`);
  });

  test("counts the requests that get no response in time, and ends with code 2", async () => {
    const channel = uniqueName();
    await using server = await serve(channel, "--exec", program("silence", "3"), "--timeout-ms", "60s");
    const { code, document } = await ask(channel, "-n", "4", "--timeout-ms", "200");
    expect(code).toBe(2);
    expect(document.error.code).toBe("TIMEOUT");
    expect(document).toMatchObject({ requests: 4, responses: 2, timeouts: 2 });
    await stopped(server);
  });

  test("measures from when a request was due where there is a rate", async () => {
    const channel = uniqueName();
    // One after another at 40 ms each, but due every 10 ms: the last one is answered about 0.3 s late.
    await using server = await serve(channel, "--delay-ms", "40");
    const { document } = await ask(channel, "-n", "10", "--rate", "100", "--in-flight", "10");
    expect(document.latency_us.min).toBeGreaterThan(39_000);
    expect(document.latency_us.max).toBeGreaterThan(250_000);
    const { latency_us: latency, latency_histogram: histogram } = document;
    expect(latency.p50).toBeLessThanOrEqual(latency.p90);
    expect(latency.p90).toBeLessThanOrEqual(latency.p999);
    expect(histogram.reduce((sum: number, { count }: { count: number }) => sum + count, 0)).toBe(10);
    await stopped(server);
  });

  test("stops at a signal, whatever it waits for", async () => {
    const channel = uniqueName();
    await using server = await serve(channel, "--exec", program("silence", "1"));
    await using client = Child.cli(["duplex", "request", channel, ...SMALL, "--json-output", "-v"]);
    await client.logged("Connected to channel");
    client.kill("SIGINT");
    const { code, document } = await client.report();
    expect(code).toBe(130);
    expect(document.error.code).toBe("INTERRUPTED");
    await stopped(server);
  });

  for (const args of [[], ["--in-flight", "8"]]) {
    test(`writes each response before it waits for the next request, ${args.join(" ")}`, async () => {
      const channel = uniqueName();
      await using server = await serve(channel);
      await using client = Child.cli([...asking(channel), ...args], { stdin: "pipe" });
      for (const line of ["one\n", "two\nthree\n", "four\n"]) {
        client.write(line);
        await client.printed(line);
      }
      client.closeStdin();
      const { code, stdout } = await client.exited();
      expect([code, stdout.toString()]).toEqual([0, "one\ntwo\nthree\nfour\n"]);
      await stopped(server);
    });
  }

  test("writes each response before it waits for its rate", async () => {
    const channel = uniqueName();
    await using server = await serve(channel);
    const slow = [...asking(channel), "--rate", "0.001"];
    await using client = Child.cli(slow, { stdin: Buffer.from("one\ntwo\n") });
    await client.printed("one\n");
    client.kill("SIGINT");
    expect((await client.exited()).code).toBe(130);
    await stopped(server);
  });

  test("writes each response before it waits for another one", async () => {
    const channel = uniqueName();
    await using server = await serve(channel, "--exec", program("silence", "3"));
    const lines = { stdin: Buffer.from("one\ntwo\nthree\n") };
    await using client = Child.cli([...asking(channel), "--timeout-ms", "0"], lines);
    await client.printed("eno\nowt\n");
    client.kill("SIGINT");
    expect((await client.exited()).code).toBe(130);
    await stopped(server);
  });

  for (const [what, input, args] of [
    ["input", "one\n", []],
    ["its rate", "one\ntwo\n", ["--rate", "0.001"]],
  ] as const) {
    for (const signal of ["SIGKILL", "SIGTERM"] as const) {
      test(`that waits for ${what} ends with code 2 when its server gets ${signal}`, async () => {
        const channel = uniqueName();
        await using server = await serve(channel);
        await using client = Child.cli([...asking(channel), ...args], { stdin: "pipe", limitMs: 10_000 });
        client.write(input);
        await client.printed("one\n");
        server.kill(signal);
        await server.exited();
        const { code, stdout, stderr } = await client.exited();
        const document = JSON.parse(stderr);
        expect([code, stdout.toString()]).toEqual([2, "one\n"]);
        expect(["READER_DEAD", "WRITER_DEAD"]).toContain(document.error.code);
        expect(document).toMatchObject({ requests: 1, responses: 1 });
        const how = signal === "SIGKILL" ? "died" : "left";
        expect(document.error.message).toBe(`The server of channel "${channel}" has ${how}.`);
        await using next = await serve(channel);
        await stopped(next);
      });
    }
  }

  test("that waits for its input ends quietly when nobody reads its output any more", async () => {
    const channel = uniqueName();
    await using server = await serve(channel);
    const shell = '{ "$@"; echo "code $?" >&2; } | head -1';
    await using client = Child.cli(asking(channel), { stdin: "pipe", shell });
    const { code, stdout, stderr } = await client.write("one\n").exited();
    expect([code, stdout.toString()]).toEqual([0, "one\n"]);
    expect(stderr).toEndWith("code 0\n");
    await stopped(server);
  });

  test("shows people a histogram", async () => {
    const channel = uniqueName();
    await using server = await serve(channel);
    const { code, stderr } = await run("duplex", "request", channel, ...SMALL, "-n", "50");
    expect(code).toBe(0);
    expect(stderr).toMatch(/^Received 50 responses from .* responses\/s/);
    expect(stderr).toMatch(/p50 [\d.]+ [µm]?s, p90 /);
    expect(stderr).toContain("█");
    await stopped(server);
  });
});
