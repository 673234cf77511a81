import { describe, expect, spyOn, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { StderrLines } from "../../../src/cli/stderr-lines.ts";
import type { ChildOptions } from "../../../src/commands/duplex/exec-child.ts";
import { ExecHandler } from "../../../src/commands/duplex/exec-handler.ts";

function handlerOf(line: string, options: Partial<ChildOptions> = {}): ExecHandler {
  const giveUp = (error: Error) => {
    throw error;
  };
  return new ExecHandler({
    line,
    timeoutMs: 20_000,
    startTimeoutMs: 20_000,
    maxRequestSize: 4096,
    tellsCancellations: false,
    log: undefined,
    stderr: new StderrLines(),
    giveUp,
    ...options,
  });
}

/** That of a request which is never cancelled. */
const lasting = { signal: new AbortController().signal };

function request(data: Uint8Array): { size: number; data: Uint8Array } {
  return { size: data.length, data };
}

/** Bytes that differ from one request to the next. */
function bytesOf(number: number, size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => number + i);
}

async function failureOf(work: Promise<unknown>): Promise<Error & { code?: string }> {
  const error = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (error instanceof Error) return error;
  throw new Error("it did not fail");
}

describe("a command of --exec", () => {
  test("gets each request whole, in whatever pieces and however many at once", async () => {
    using handler = handlerOf("cat", { pieceSize: 7 });
    const requests = Array.from({ length: 20 }, (_, i) => bytesOf(i, 50 + i));
    const responses = await Promise.all(requests.map((data) => handler.handle(request(data), lasting)));
    expect(responses).toEqual(requests);
    await handler.end({ atOnce: false });
  });

  test("gets no request that its length prefix cannot announce, and answers the next one", async () => {
    using handler = handlerOf("cat");
    const { code, message } = await failureOf(
      handler.handle({ size: 2 ** 32, data: new Uint8Array(0) }, lasting),
    );
    expect(code).toBe("FRAME_TOO_LARGE");
    expect(message).toContain("4294967296 bytes");
    expect(message).toContain("up to 4294967295");
    expect(await handler.handle(request(bytesOf(1, 10)), lasting)).toEqual(bytesOf(1, 10));
    await handler.end({ atOnce: false });
  });

  test("may answer with as much as a request can have, and beyond 1 GiB no more", async () => {
    for (const [maxRequestSize, limit] of [
      [4096, 2 ** 30],
      [3 * 2 ** 30, 3 * 2 ** 30],
      [2 ** 33, 2 ** 32 - 1],
    ] as const) {
      // A length alone, one byte above the limit if there is such a length.
      const length = Math.min(limit + 1, 2 ** 32 - 1);
      const octal = [0, 8, 16, 24].map((shift) => `\\${(Math.floor(length / 2 ** shift) % 256).toString(8)}`);
      using handler = handlerOf(`head -c 14 >/dev/null; printf '${octal.join("")}'`, {
        maxRequestSize,
        timeoutMs: 5000,
      });
      const { message } = await failureOf(handler.handle(request(bytesOf(1, 10)), lasting));
      const reason = length > limit ? `more than the maximum of ${limit} bytes` : `0 of its ${length} bytes`;
      expect(message).toContain(reason);
    }
  });

  test("that answers before it has read the request still gets all of it", async () => {
    // A response at once; the response to the second request is the checksum of the first one.
    const script = [
      "head -c 4 >/dev/null",
      "printf '\\002\\000\\000\\000ok'",
      "sum=$(head -c 1000000 | md5sum | head -c 32)",
      "head -c 14 >/dev/null",
      'printf "\\040\\000\\000\\000$sum"',
      "cat >/dev/null",
    ];
    using handler = handlerOf(script.join("; "), { pieceSize: 1000 });
    const data = bytesOf(1, 1_000_000);
    const expected = new Bun.CryptoHasher("md5").update(data).digest("hex");
    const first = await handler.handle(request(data), lasting);
    // The caller may use the memory again.
    data.fill(0);
    const second = await handler.handle(request(bytesOf(2, 10)), lasting);
    expect([first, second].map((response) => new TextDecoder().decode(response))).toEqual(["ok", expected]);
    await handler.end({ atOnce: true });
  });

  test("that answers before it was asked fails the request at once", async () => {
    for (let i = 0; i < 10; i++) {
      using handler = handlerOf("printf '\\002\\000\\000\\000ok'; cat >/dev/null");
      // The response comes before the request is sent, or after.
      const response = handler.handle(request(bytesOf(1, 10)), lasting).then(() => "answered", String);
      expect(["answered", "Error: The command failed: it sent a response without a request."]).toContain(
        await response,
      );
    }
  });

  test("has the whole time for each response, however many requests wait for it", async () => {
    // 4 s for all of them, 0.2 s for each.
    using handler = handlerOf("for i in $(seq 20); do head -c 14; sleep 0.2; done; cat", { timeoutMs: 3000 });
    const requests = Array.from({ length: 20 }, (_, i) => bytesOf(i, 10));
    const responses = await Promise.all(requests.map((data) => handler.handle(request(data), lasting)));
    expect(responses).toEqual(requests);
    await handler.end({ atOnce: true });
  });

  test("that stops answering fails after its time, also with requests that came after its last response", async () => {
    using handler = handlerOf("head -c 14; cat >/dev/null", { timeoutMs: 500 });
    expect(await handler.handle(request(bytesOf(1, 10)), lasting)).toEqual(bytesOf(1, 10));
    const responses = [2, 3].map((i) => failureOf(handler.handle(request(bytesOf(i, 10)), lasting)));
    for (const { message } of await Promise.all(responses)) {
      expect(message).toBe("The command failed: it gave no response within 500 ms.");
    }
  });

  test("that needs longer for its first response than for the others gets that time", async () => {
    using handler = handlerOf("sleep 1; cat", { timeoutMs: 500 });
    const responses = [1, 2].map((i) => handler.handle(request(bytesOf(i, 10)), lasting));
    expect((await Promise.all(responses)).length).toBe(2);
    await handler.end({ atOnce: true });
    using late = handlerOf("sleep 60; cat", { startTimeoutMs: 500 });
    const { message } = await failureOf(late.handle(request(bytesOf(1, 10)), lasting));
    expect(message).toBe("The command failed: it gave no response within 500 ms.");
  });

  test("is not started again after the end", async () => {
    const directory = mkdtempSync(join(tmpdir(), "zerobuffer-child-"));
    try {
      const starts = join(directory, "starts");
      using handler = handlerOf(`echo >>${starts}; head -c 4 >/dev/null; exit 3`);
      expect((await failureOf(handler.handle(request(bytesOf(1, 10)), lasting))).message).toContain("code 3");
      // It waits before it starts the command again.
      const second = failureOf(handler.handle(request(bytesOf(2, 10)), lasting));
      await handler.end({ atOnce: true });
      expect((await second).message).toBe("The command failed: it was stopped.");
      expect(readFileSync(starts, "utf8")).toBe("\n");
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test("is killed once: later its number may be another process's", async () => {
    using handler = handlerOf("sleep 1000 >/dev/null 2>&1 & head -c 4 >/dev/null; exit 3");
    const kill = spyOn(process, "kill");
    try {
      await failureOf(handler.handle(request(bytesOf(1, 10)), lasting));
      await handler.end({ atOnce: false });
      handler[Symbol.dispose]();
      expect(kill.mock.calls).toEqual([[expect.any(Number), "SIGKILL"]]);
      expect(kill.mock.calls[0]?.[0]).toBeLessThan(-1);
    } finally {
      kill.mockRestore();
    }
  });

  test("gets no request that was cancelled before its turn to be sent, and answers the others", async () => {
    const directory = mkdtempSync(join(tmpdir(), "zerobuffer-child-"));
    try {
      const gate = join(directory, "gate");
      // It reads nothing until the gate is there: the second request fills the pipe, and the third waits.
      using handler = handlerOf(`while ! [ -e ${gate} ]; do sleep 0.01; done; exec cat`);
      const data = [bytesOf(1, 10), bytesOf(2, 300_000), bytesOf(3, 20), bytesOf(4, 30)];
      const cancellation = new AbortController();
      const responses = data.map((bytes, i) =>
        handler.handle(request(bytes), i === 2 ? { signal: cancellation.signal } : lasting),
      );
      cancellation.abort();
      const cancelled = failureOf(responses.splice(2, 1)[0] as Promise<unknown>);
      writeFileSync(gate, "");
      expect((await cancelled).name).toBe("AbortError");
      expect(await Promise.all(responses)).toEqual([data[0], data[1], data[3]] as Uint8Array[]);
      await handler.end({ atOnce: false });
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test("gets no request whose length would mean a cancellation, if it is told of these", async () => {
    using handler = handlerOf("cat", { tellsCancellations: true });
    const { code, message } = await failureOf(
      handler.handle({ size: 2 ** 32 - 1, data: new Uint8Array(0) }, lasting),
    );
    expect(code).toBe("FRAME_TOO_LARGE");
    expect(message).toBe("A request of 4294967295 bytes cannot be sent with --exec-cancel.");
    expect(await handler.handle(request(bytesOf(1, 10)), lasting)).toEqual(bytesOf(1, 10));
    await handler.end({ atOnce: false });
  });

  test("for which there is no process is an error that says so", async () => {
    const spawn = spyOn(Bun, "spawn").mockImplementation(() => {
      throw Object.assign(new Error("EAGAIN: resource temporarily unavailable, posix_spawn"), {
        code: "EAGAIN",
      });
    });
    try {
      using handler = handlerOf("cat");
      const { code, message } = await failureOf(handler.start());
      expect(code).toBe("IO_ERROR");
      expect(message).toBe('Cannot start command "cat": resource temporarily unavailable.');
    } finally {
      spawn.mockRestore();
    }
  });
});
