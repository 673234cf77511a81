import { describe, expect, test } from "bun:test";
import { eventually, uniqueName } from "../support/buffers.ts";
import { Child, runJson, startOnTerminal } from "../support/process.ts";
import { expectValid } from "../support/schemas.ts";
import { ask, program, SMALL, serve, stopped } from "./channels.ts";

/** The processes besides the server that have the mark in their command lines. */
function startedBy(server: Child, mark: string): string[] {
  const { stdout } = Bun.spawnSync(["ps", "-eo", "pid,args"]);
  const lines = stdout.toString().split("\n");
  return lines.filter((line) => line.includes(mark) && Number.parseInt(line, 10) !== server.pid);
}

describe("a handler", () => {
  for (const mode of ["immutable", "mutable"]) {
    for (const args of [["echo"], ["reverse"], ["xor"], ["xor", "--xor-key", "90"]]) {
      test(`${args.join(" ")} answers in ${mode} mode what its client expects`, async () => {
        const channel = uniqueName();
        await using server = await serve(channel, "--mode", mode, "--handler", ...args);
        const options = ["-n", "500", "-s", "1001", "--pattern", "random", "--in-flight", "4"];
        const { code, document } = await ask(channel, ...options, "--verify", ...args);
        expect(code).toBe(0);
        expectValid("duplex-request", document);
        expect(document).toMatchObject({
          operation: "duplex-request",
          channel,
          requests: 500,
          responses: 500,
          timeouts: 0,
          verification_errors: 0,
          bytes_sent: 500_500,
          bytes_received: 500_500,
          errors: [],
        });
        expect(await stopped(server)).toMatchObject({
          operation: "duplex-serve",
          channel,
          requests: 500,
          responses: 500,
          handler_errors: 0,
          clients: 1,
          bytes_in: 500_500,
          bytes_out: 500_500,
        });
      });
    }
  }

  test("that answers something else is found by --verify, with code 4 and the first request's number", async () => {
    const channel = uniqueName();
    await using server = await serve(channel, "--handler", "xor", "--xor-key", "1");
    const { code, document } = await ask(channel, "-n", "7", "--verify", "xor", "--xor-key", "2");
    expect(code).toBe(4);
    expect(document).toMatchObject({ responses: 7, verification_errors: 7, first_error_request: 0 });
    expect(document.error.code).toBe("VERIFICATION_FAILED");
    await stopped(server);
  });
});

describe("a server", () => {
  test("serves one client after another, and counts them", async () => {
    const channel = uniqueName();
    await using server = await serve(channel);
    for (let i = 0; i < 3; i++) expect((await ask(channel, "-n", "10")).code).toBe(0);
    expect(await stopped(server)).toMatchObject({ clients: 3, requests: 30, responses: 30 });
  });

  test("goes on after a client that was killed", async () => {
    const channel = uniqueName();
    await using server = await serve(channel);
    await using client = Child.cli(["duplex", "request", channel, ...SMALL, "-n", "0"]);
    await server.logged("A client has connected");
    client.kill("SIGKILL");
    await client.exited();
    await server.logged("has died");
    expect((await ask(channel, "-n", "10", "--verify", "echo")).code).toBe(0);
    await stopped(server);
  });

  test("ends after -n requests, every one of them answered", async () => {
    const channel = uniqueName();
    await using server = await serve(channel, "-n", "25");
    const { code, document } = await ask(channel, "-n", "25", "--in-flight", "25");
    expect(code).toBe(0);
    expect(document.responses).toBe(25);
    const { code: serverCode, document: served } = await server.report();
    expect(serverCode).toBe(0);
    expect(served).toMatchObject({ requests: 25, responses: 25, errors: [] });
  });

  test("handles several requests at once in a thread-pool, and the responses come in the order of the requests", async () => {
    const channel = uniqueName();
    await using server = await serve(channel, "--processing", "thread-pool", "--exec", program("none"));
    await using client = Child.cli(
      [
        "duplex",
        "request",
        channel,
        ...SMALL,
        "-i",
        "-",
        "-o",
        "-",
        "--framing",
        "lines",
        "--in-flight",
        "16",
      ],
      { stdin: Buffer.from(Array.from({ length: 200 }, (_, i) => `${i}\n`).join("\n")) },
    );
    const { code, stdout, stderr } = await client.exited();
    expect(code).toBe(0);
    expect(stderr).toContain("Skipped 199 empty lines.");
    const expected = Array.from({ length: 200 }, (_, i) => `${[...`${i}`].reverse().join("")}\n`).join("");
    expect(stdout.toString()).toBe(expected);
    await stopped(server);
  });

  test("receives the metadata of a client", async () => {
    const channel = uniqueName();
    await using server = await serve(channel);
    const { document } = await ask(channel, "-n", "1", "-m", "hello");
    expect(document.metadata_size).toBe(5);
    await server.logged("Received 5 bytes of metadata");
    await stopped(server);
  });

  test("that is there already is refused with code 1", async () => {
    const channel = uniqueName();
    await using server = await serve(channel);
    const { code, document } = await runJson("duplex", "serve", channel, ...SMALL);
    expect(code).toBe(1);
    expect(document.error).toMatchObject({
      code: "READER_ALREADY_CONNECTED",
      message: `Channel "${channel}" already has a server (process ${server.pid}).`,
    });
    await stopped(server);
  });
});

describe("a command of --exec", () => {
  test("that ends is started again, and only the requests it had in hand get no response", async () => {
    const channel = uniqueName();
    await using server = await serve(channel, "--exec", program("end", "4"));
    const options = ["-n", "12", "--in-flight", "12", "--verify", "reverse", "--timeout-ms", "3s"];
    const { document } = await ask(channel, ...options);
    expect(document).toMatchObject({ requests: 12, responses: 9, timeouts: 3, verification_errors: 0 });
    await server.logged("it ended with code 7: out of memory");
    expect(await stopped(server)).toMatchObject({
      requests: 12,
      responses: 9,
      handler_errors: 3,
      errors: expect.arrayContaining([
        "Request 4 got no response: The command failed: it ended with code 7: out of memory.",
      ]),
    });
  });

  for (const [what, cause] of [
    ["garbage", "it sent an invalid response"],
    ["truncate", "it sent an invalid response"],
    ["silence", "it gave no response within 500 ms"],
  ] as const) {
    test(`that answers with ${what} is started again, and nothing is mixed up`, async () => {
      const channel = uniqueName();
      await using server = await serve(channel, "--exec", program(what, "3"), "--timeout-ms", "500");
      const options = ["-n", "6", "--in-flight", "6", "--verify", "reverse", "--timeout-ms", "4s"];
      const { document } = await ask(channel, ...options);
      expect(document).toMatchObject({ requests: 6, responses: 4, timeouts: 2, verification_errors: 0 });
      await server.logged(cause);
      await stopped(server);
    });
  }

  test("that sends a response too many gets no request's response mixed up", async () => {
    const channel = uniqueName();
    await using server = await serve(channel, "--exec", program("twice", "1"));
    const options = ["-n", "20", "--pattern", "random", "--verify", "reverse", "--timeout-ms", "2s"];
    const { document } = await ask(channel, ...options);
    expect(document.verification_errors).toBe(0);
    expect(document.responses).toBeGreaterThan(0);
    await server.logged("it sent a response without a request");
    await stopped(server);
  });

  test("that never answers anything ends the server with code 2", async () => {
    const channel = uniqueName();
    await using server = await serve(
      channel,
      "--exec",
      "head -c 4 >/dev/null; printf 'cannot ' >&2; sleep 0.1; echo load the model >&2; exit 3",
    );
    await using client = Child.cli([
      "duplex",
      "request",
      channel,
      ...SMALL,
      "--timeout-ms",
      "300",
      "--quiet",
    ]);
    const { code, document, stderr } = await server.report();
    expect(code).toBe(2);
    expect(document.error.code).toBe("IO_ERROR");
    expect(document.error.message).toContain("it ended with code 3: cannot load the model");
    // The log of the server does not come between the pieces of a line that its command prints.
    expect(stderr).toContain("\ncannot load the model\n");
    expect((await client.exited()).code).toBe(2);
  });

  test("that fails the only request of -n 1 ends the server with code 2, as its errors say", async () => {
    const channel = uniqueName();
    await using server = await serve(channel, "-n", "1", "--exec", program("end", "1"));
    expect((await ask(channel, "-n", "1", "--timeout-ms", "20s")).code).toBe(2);
    const { code, document } = await server.report();
    expect(code).toBe(2);
    expectValid("duplex-serve", document);
    expect(document).toMatchObject({
      requests: 1,
      responses: 0,
      handler_errors: 1,
      errors: [
        "Request 1 got no response: The command failed: it ended with code 7: out of memory.",
        "1 of 1 request got no response.",
      ],
      error: { code: "INCOMPLETE", message: "1 of 1 request got no response." },
    });
  });

  test("is started with the server, which tells when it is ready", async () => {
    const channel = uniqueName();
    await using server = await serve(channel, "--exec", "echo loaded >&2; exec cat");
    await server.logged("loaded");
    expect((await ask(channel, "-n", "2", "--verify", "echo")).code).toBe(0);
    expect(await stopped(server)).toMatchObject({ requests: 2, responses: 2 });
    const { stderr } = await server.exited();
    expect(stderr.match(/Process \d+ is ready: it has responded\./g)?.length).toBe(1);
  });

  test("gets --start-timeout-ms for its first response, and --timeout-ms for the others", async () => {
    const channel = uniqueName();
    const slow = ["--exec", "sleep 3; exec cat", "--timeout-ms", "2s"];
    await using server = await serve(channel, ...slow);
    expect((await ask(channel, "-n", "2", "--verify", "echo", "--timeout-ms", "20s")).code).toBe(0);
    await stopped(server);
    await using impatient = await serve(channel, ...slow, "--start-timeout-ms", "50");
    expect((await ask(channel, "-n", "1", "--timeout-ms", "500")).code).toBe(2);
    await impatient.logged("it gave no response within 50 ms");
    await stopped(impatient);
  });

  for (const [what, line, cause, hint] of [
    ["is not there", "/nonexistent/model", "it ended with code 127: ", "Check its path and its permissions."],
    ["cannot be run", "/dev/null", "it ended with code 126: ", "Check its path and its permissions."],
    ["ends at once", "true", "it ended with code 0.", "Run it by hand: "],
    ["prints text", "echo Welcome; exec cat", "it sent an invalid response (", "Run it by hand: "],
  ] as const) {
    test(`that ${what} is an error when the server starts`, async () => {
      const { code, document } = await runJson("duplex", "serve", uniqueName(), ...SMALL, "--exec", line);
      expect(code).toBe(2);
      expectValid("duplex-serve", document);
      expect(document.error.code).toBe("IO_ERROR");
      expect(document.error.message).toStartWith(
        `Command ${JSON.stringify(line)} failed before it answered a request: ${cause}`,
      );
      expect(document.error.hint).toStartWith(hint);
    });
  }

  for (const size of ["1KiB", "200KiB"]) {
    test(`that closes its stdin fails the requests of ${size}, and nothing else`, async () => {
      const channel = uniqueName();
      const deaf = ["--exec", "exec <&-; echo closed >&2; sleep 60", "--processing", "thread-pool"];
      await using server = await serve(channel, ...deaf, "-n", "4");
      await server.logged("closed");
      const options = ["-n", "4", "-s", size, "--in-flight", "4", "--timeout-ms", "3s"];
      expect((await ask(channel, ...options)).document).toMatchObject({ requests: 4, responses: 0 });
      const { code, document, stderr } = await server.report();
      expect([code, document.error.code, document.handler_errors]).toEqual([2, "INCOMPLETE", 4]);
      expect(document.errors[0]).toBe(
        "Request 1 got no response: The command failed: it stopped reading requests.",
      );
      expect(stderr).not.toContain("EPIPE");
    });
  }

  for (const [what, command] of [
    ["is not the shell itself", "cd / && $program; exit"],
    ["is in a pipeline", "$program | cat"],
    ["leaves another one in the background", "(trap '' TERM; sleep 1000; echo $mark) & exec $program"],
  ] as const) {
    const lineOf = (mark: string, ...args: string[]) =>
      command.replace("$program", program(...args, mark)).replace("$mark", mark);

    test(`that ${what} ends with the server, and so does everything it has started`, async () => {
      const channel = uniqueName();
      const mark = `mark-${channel}`;
      for (const end of [stopped, (server: Child) => server.report()]) {
        const limit = end === stopped ? [] : ["-n", "1"];
        await using server = await serve(channel, ...limit, "--exec", lineOf(mark, "none", "1000000"));
        await eventually(() => startedBy(server, mark).length > 1);
        expect((await ask(channel, "-n", "1")).code).toBe(0);
        await end(server);
        await eventually(() => startedBy(server, mark).length === 0);
      }
    });

    test(`that ${what} ends when it is late, and so does everything it has started`, async () => {
      const channel = uniqueName();
      const mark = `mark-${channel}`;
      const late = ["--exec", lineOf(mark, "silence", "1"), "--start-timeout-ms", "500"];
      await using server = await serve(channel, ...late);
      await eventually(() => startedBy(server, mark).length > 1);
      expect((await ask(channel, "-n", "1", "--timeout-ms", "1s")).code).toBe(2);
      await eventually(() => startedBy(server, mark).length === 0);
      await stopped(server);
    });
  }

  test("prints whole lines above the progress, which stays the last line", async () => {
    const channel = uniqueName();
    const noise = "(while printf noi >&2 && sleep 0.02 && echo se >&2; do :; done) &";
    const args = ["duplex", "serve", channel, ...SMALL, "-v", "--exec", `${noise} exec ${program("none")}`];
    await using server = startOnTerminal(args);
    await server.printed("Serving: ");
    expect((await ask(channel, "-n", "1")).code).toBe(0);
    await server.printed("noise\r\n");
    server.kill("SIGINT");
    const output = (await server.exited()).stdout.toString();
    const lines = output.split("\r\n").map((line) => line.split("\r\x1b[2K").at(-1));
    const noises = output.split("noise\r\n").length - 1;
    expect(noises).toBeGreaterThan(0);
    expect(lines.filter((line) => line === "noise")).toHaveLength(noises);
    expect(lines).toContain(`info: Created channel "${channel}".`);
    expect(output).not.toContain("\x1b8");
  });
});
