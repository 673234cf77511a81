// The programs of docs/duplex.md, as they are there.

import { expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "../../../scripts/build-native.ts";
import { DuplexChannelFactory } from "../../../src/core/index.ts";
import { sweep } from "../../process/peers.ts";
import { uniqueName, WAIT_LIMIT_MS } from "../../support/buffers.ts";
import { blocksOf, textOf } from "../../support/pages.ts";
import { Child } from "../../support/process.ts";

const all = blocksOf(textOf("docs/duplex.md"));
const blocks = (language: string) =>
  all.flatMap((block) => (block.language === language ? [block.text] : []));

/** A directory for what stands on the page, with the channel's name replaced. */
async function withFiles(
  files: Record<string, string>,
  act: (path: (file: string) => string, channel: string) => Promise<void>,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "zerobuffer-page-"));
  const channel = uniqueName();
  try {
    for (const [file, text] of Object.entries(files)) {
      const source = join(root, "src", "core", "index.ts");
      const changed = text
        .replaceAll(/"(draw|brighter)"/g, JSON.stringify(channel))
        .replaceAll('"zerobuffer"', JSON.stringify(source));
      writeFileSync(join(directory, file), changed);
    }
    await act((file) => join(directory, file), channel);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test("the user sees the picture that was asked for last, and the model stops drawing the others", async () => {
  const [model = "", typist = ""] = blocks("ts");
  // However slow this machine is, only the last picture is ever finished.
  const patient = model.replace("step <= 50", 'step <= (prompt === "a cat" ? 50 : Infinity)');
  expect(patient).not.toBe(model);
  await withFiles({ "model.ts": patient, "typist.ts": typist }, async (path) => {
    await using server = Child.program([process.execPath, path("model.ts")]);
    await using client = Child.program([process.execPath, path("typist.ts")]);
    const { code, stdout: shown } = await client.end();
    expect([code, shown.toString()]).toEqual([0, "a picture of a cat\n"]);
    await server.printed("request 2 was taken back");
    server.kill("SIGTERM");
    const { stdout } = await server.exited();
    sweep();
    const lines = stdout.toString().trim().split("\n");
    expect(lines.filter((line) => line.startsWith("request"))).toEqual([
      "request 1 was taken back",
      "request 2 was taken back",
    ]);
    expect(lines).toContain("drawing a cat");
  });
});

test("the viewer reads its pictures in place, once the first has come", async () => {
  const [, , brighter = "", viewer = ""] = blocks("ts");
  await withFiles({ "brighter.ts": brighter, "viewer.ts": viewer }, async (path) => {
    await using server = Child.program([process.execPath, path("brighter.ts")]);
    await using client = Child.program([process.execPath, path("viewer.ts")]);
    const { code, stdout } = await client.end();
    const lines = stdout.toString().trim().split("\n");
    expect([code, lines.length, ...lines.slice(1)]).toEqual([0, 3, "116 in place", "116 in place"]);
    server.kill("SIGTERM");
    await server.exited();
    sweep();
  });
});

const hasPython = Bun.which("python3") !== null;

test.skipIf(!hasPython)("the shorter program in Python answers", async () => {
  const [program = ""] = blocks("python");
  await withFiles({ "model.py": program }, async (path, channel) => {
    const exec = ["--exec", `python3 ${path("model.py")}`, "--json-output"];
    await using server = Child.cli(["duplex", "serve", channel, "--buffer-size", "1MiB", "-n", "1", ...exec]);
    using client = await DuplexChannelFactory.getInstance().connectClient(channel, {
      connectTimeoutMs: WAIT_LIMIT_MS,
    });
    {
      using response = await client.request(Buffer.from("abc"), { timeoutMs: WAIT_LIMIT_MS });
      expect(Buffer.from(response.data).toString()).toBe("cba");
    }
    expect((await server.report()).document).toMatchObject({ responses: 1, handler_errors: 0 });
  });
});

test.skipIf(!hasPython)("the program in Python stops when it is told to, and mixes nothing up", async () => {
  const [, program = ""] = blocks("python");
  await withFiles({ "model.py": program }, async (path, channel) => {
    chmodSync(path("model.py"), 0o755);
    const args = [
      "--exec",
      path("model.py"),
      "--exec-cancel",
      "--processing",
      "thread-pool",
      "--json-output",
    ];
    await using server = Child.cli(["duplex", "serve", channel, "--buffer-size", "1MiB", ...args]);
    using client = await DuplexChannelFactory.getInstance().connectClient(channel, {
      config: { metadataSize: 0, payloadSize: 2 ** 20 },
      connectTimeoutMs: WAIT_LIMIT_MS,
    });
    const controller = new AbortController();
    const { signal } = controller;
    const first = client
      .request(Buffer.from("one"), { signal, timeoutMs: WAIT_LIMIT_MS })
      .catch((error) => error);
    const second = client.request(Buffer.from("two"), { timeoutMs: WAIT_LIMIT_MS });
    controller.abort();
    expect(await first).toBe(signal.reason);
    using picture = await second;
    expect(Buffer.from(picture.data).toString()).toBe("a picture of two");
    client.close();
    server.kill("SIGTERM");
    expect((await server.report()).document).toMatchObject({
      responses: 1,
      requests_cancelled: 1,
      handler_errors: 0,
    });
  });
});
