// Requests that are taken back, and clients that go on with the next server.

import { describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DuplexChannelFactory } from "../../src/core/index.ts";
import { eventually, rejectionOf, uniqueName, WAIT_LIMIT_MS } from "../support/buffers.ts";
import { Child, runJson } from "../support/process.ts";
import { expectValid } from "../support/schemas.ts";
import { ask, SMALL, serve, stopped } from "./channels.ts";

const config = { metadataSize: 0, payloadSize: 2 ** 20 };

async function connect(channel: string) {
  return await DuplexChannelFactory.getInstance().connectClient(channel, {
    config,
    connectTimeoutMs: WAIT_LIMIT_MS,
  });
}

describe("a request that gets no response in time", () => {
  test("is cancelled, so that the server does not work on it, and both sides count it", async () => {
    const channel = uniqueName();
    await using server = await serve(channel, "--delay-ms", "10m");
    const { code, document } = await ask(channel, "-n", "1", "--timeout-ms", "100");
    expect(code).toBe(2);
    expectValid("duplex-request", document);
    expect(document).toMatchObject({ requests: 1, responses: 0, timeouts: 1, cancelled: 1, lost: 0 });
    expect(document.error.code).toBe("TIMEOUT");
    await server.logged("Request 1 was cancelled.");
    expect(await stopped(server)).toMatchObject({
      requests: 1,
      responses: 0,
      requests_cancelled: 1,
      handler_errors: 0,
    });
  });

  test("never reaches the handler if that is busy with another one until then", async () => {
    const channel = uniqueName();
    await using server = await serve(channel, "--delay-ms", "300");
    using client = await connect(channel);
    const first = client.request(Buffer.from("first"));
    const cancellation = new AbortController();
    const second = rejectionOf(client.request(Buffer.from("second"), { signal: cancellation.signal }));
    cancellation.abort();
    expect(await second).toBe(cancellation.signal.reason);
    using answer = await first;
    expect(Buffer.from(answer.data).toString()).toBe("first");
    await server.logged("Request 2 was cancelled.");
    client.close();
    expect(await stopped(server)).toMatchObject({ requests: 1, responses: 1, requests_cancelled: 1 });
  });
});

test("Ctrl-C of a client cancels what it has in flight, and the next client is served", async () => {
  const channel = uniqueName();
  await using server = await serve(channel, "--delay-ms", "10m", "--processing", "thread-pool");
  await using client = Child.cli([
    "duplex",
    "request",
    channel,
    ...SMALL,
    "--in-flight",
    "3",
    "--json-output",
  ]);
  const requests = async () => (await runJson("inspect", `${channel}_request`)).document?.oieb;
  // They are there, and their handlers wait.
  let oieb = await requests();
  while (oieb?.payload_written_count !== 3) oieb = await requests();
  client.kill("SIGINT");
  expect(await client.report()).toMatchObject({ code: 130 });
  await server.logged(`The client of channel "${channel}" has left.`);
  using next = await connect(channel);
  expect(next.honoursCancellation).toBe(true);
  next.close();
  expect(await stopped(server)).toMatchObject({ responses: 0, handler_errors: 0, requests_cancelled: 0 });
});

describe("a program of --exec", () => {
  test("is told with --exec-cancel which request is cancelled, answers it, and nothing is mixed up", async () => {
    const channel = uniqueName();
    const directory = mkdtempSync(join(tmpdir(), "zerobuffer-holder-"));
    try {
      const file = join(directory, "told");
      const told = () => (existsSync(file) ? readFileSync(file, "utf8").split("\n").slice(0, -1) : []);
      const program = `${process.execPath} ${join(import.meta.dir, "fixtures", "holder.ts")} ${file}`;
      const pool = ["--processing", "thread-pool", "--workers", "8"];
      await using server = await serve(
        channel,
        "--exec",
        program,
        "--exec-cancel",
        "--timeout-ms",
        "0",
        ...pool,
      );
      using client = await connect(channel);
      const send = (text: string) => {
        const cancellation = new AbortController();
        const { signal } = cancellation;
        const answer = client.request(Buffer.from(text), { signal, timeoutMs: WAIT_LIMIT_MS }).then(
          (response) => {
            using _ = response;
            return Buffer.from(response.data).toString();
          },
          (error) => error.name,
        );
        return { answer, cancel: () => cancellation.abort() };
      };
      const first = send("abc");
      expect(await first.answer).toBe("cba");
      const [held, other, alsoHeld, last] = ["hold 1", "def", "hold 2", "ghi"].map(send);
      await eventually(() => told().includes("ghi"));
      alsoHeld?.cancel();
      await eventually(() => told().includes("cancelled 3"));
      held?.cancel();
      expect([await other?.answer, await last?.answer]).toEqual(["fed", "ihg"]);
      expect([await held?.answer, await alsoHeld?.answer]).toEqual(["AbortError", "AbortError"]);
      expect(await send("xyz").answer).toBe("zyx");
      expect(told()).toEqual(["abc", "hold 1", "def", "hold 2", "ghi", "cancelled 3", "cancelled 1", "xyz"]);
      client.close();
      expect(await stopped(server)).toMatchObject({
        requests: 6,
        responses: 4,
        requests_cancelled: 2,
        handler_errors: 0,
      });
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test("is needed for --exec-cancel", async () => {
    const { code, document } = await runJson("duplex", "serve", uniqueName(), "--exec-cancel");
    expect(code).toBe(3);
    expect(document.error).toMatchObject({
      code: "USAGE",
      message: "--exec-cancel is for the command of --exec.",
    });
  });
});

describe("duplex request --follow", () => {
  test("goes on with the next server, and says which requests were lost with the last one", async () => {
    const channel = uniqueName();
    await using client = Child.cli(
      `duplex request ${channel} --buffer-size 1MiB -n 50 --in-flight 4 --follow --json-output --verify echo -v`,
    );
    {
      await using server = await serve(channel, "--delay-ms", "10m", "--processing", "thread-pool");
      await client.logged(`Connected to channel "${channel}"`);
      const requests = async () => (await runJson("inspect", `${channel}_request`)).document?.oieb;
      let oieb = await requests();
      while (oieb?.payload_written_count !== 4) oieb = await requests();
      server.kill("SIGKILL");
      await server.exited();
    }
    await client.logged("Request 0 was lost: its server has died.");
    await using next = await serve(channel);
    const { code, document } = await client.report();
    expect(code).toBe(2);
    expectValid("duplex-request", document);
    expect(document).toMatchObject({
      requests: 50,
      responses: 46,
      lost: 4,
      timeouts: 0,
      verification_errors: 0,
    });
    expect(document.error).toMatchObject({
      code: "INCOMPLETE",
      message: "4 of 50 requests were in flight when their server went.",
    });
    expect(await stopped(next)).toMatchObject({ requests: 46, responses: 46, clients: 1 });
  });

  test("waits for its first server, loses nothing between two, and gives up after --connect-timeout-ms", async () => {
    const channel = uniqueName();
    await using client = Child.cli(
      `duplex request ${channel} --buffer-size 1MiB -i - -o - --framing lines --follow --json-lines`,
      { stdin: "pipe" },
    );
    for (const word of ["one", "two"]) {
      await using server = await serve(channel, "--handler", "reverse");
      client.write(`${word}\n`);
      await client.printed([...word].reverse().join(""));
      await stopped(server);
    }
    client.closeStdin();
    const { code, stderr } = await client.end();
    expect(code).toBe(0);
    const events = stderr
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(events.at(-1)).toMatchObject({ event: "result", requests: 2, responses: 2, lost: 0 });

    const { code: late, document } = await ask(channel, "--follow", "--connect-timeout-ms", "50");
    expect([late, document.error.code]).toEqual([1, "BUFFER_NOT_FOUND"]);
  });
});
