// What docs/bridge.md and the files of examples/bridge say is so.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../../scripts/build-native.ts";
import { HEADERS } from "../../../src/frames/wire.ts";
import { frameOf, resultOf, Sink, Source, upTo } from "../../support/bridge.ts";
import { canServe, NatsServer } from "../../support/nats.ts";
import { run } from "../../support/process.ts";

const textOf = (file: string) => readFileSync(join(root, "examples", "bridge", file), "utf8");
const page = readFileSync(join(root, "docs", "bridge.md"), "utf8");

test("every header and count is on the page, and every option on it is one of the commands'", async () => {
  for (const header of Object.values(HEADERS)) expect(page).toContain(`\`${header}\``);
  const pages = await Promise.all(["publish", "subscribe"].map((name) => run("bridge", name, "--help")));
  const help = [...pages, await run("doctor", "--help")].map(({ stdout }) => stdout.toString()).join("\n");
  const flags = new Set(page.match(/(?<![\w-])--[a-z][a-z-]+/g));
  const others = ["--video", "--config"];
  for (const flag of flags) if (!others.includes(flag)) expect(help).toContain(flag);
  expect(flags.size).toBeGreaterThan(12);
});

describe.skipIf(!canServe)("the users of nats.conf", () => {
  test.each([
    ["core NATS", []],
    ["a stream", ["--stream", "cam"]],
  ] as const)("may do what they need over %s, and no more", async (_, stream) => {
    const config = textOf("nats.conf");
    const limits = config.slice(config.indexOf("max_payload"));
    const passwords = { CAMERA_PASSWORD: "secret-1", VIEWER_PASSWORD: "secret-2" };
    await using server = await NatsServer.start({ config: limits, env: passwords });
    const camera = { env: { NATS_PASSWORD: "secret-1" } };
    const viewer = { env: { NATS_PASSWORD: "secret-2" } };
    await using source = await Source.start(
      server,
      ["--user", "camera", "--subject", "zerobuffer.cam", ...stream],
      {
        ...camera,
        metadata: "about",
      },
    );
    const start = stream.length > 0 ? ["--durable", "archive", "--start", "first"] : [];
    await using sink = await (
      await Sink.start(server, "cam", ["--user", "viewer", ...stream, ...start], viewer)
    ).listens();
    await source.writer.writeFrameAsync(frameOf(1, 3_000_000));
    await source.writer.writeFrameAsync(frameOf(2, 1000));
    const published = await source.end();
    expect(published).toMatchObject({ code: 0, stderr: "" });
    expect(await sink.numbers((number) => (number === 1 ? 3_000_000 : 1000))).toEqual(upTo(2));
    expect(sink.metadata).toBe("about");
    expect((await resultOf(sink.child)).code).toBe(0);

    await using intruder = await Source.start(
      server,
      ["--user", "viewer", "--subject", "zerobuffer.cam"],
      viewer,
    );
    expect((await resultOf(intruder.child)).result.error.code).toBe("PERMISSION_DENIED");
  });
});

test("compose.yaml gives the server its configuration and both passwords", () => {
  const compose = textOf("compose.yaml");
  for (const [variable] of textOf("nats.conf").matchAll(/\$[A-Z]+_PASSWORD/g))
    expect(compose).toContain(`\${${variable.slice(1)}:?`);
  expect(compose).toContain("./nats.conf:/etc/nats/nats.conf:ro");
  expect(compose).toContain("frames:/data");
});
