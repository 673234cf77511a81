import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CloseCode } from "../../src/commands/view/protocol.ts";
import { Reader } from "../../src/core/index.ts";
import { eventually, uniqueName } from "../support/buffers.ts";
import { Child, run } from "../support/process.ts";
import { expectValid } from "../support/schemas.ts";
import { View, writeFrames } from "../support/view.ts";
import { Visitor } from "../support/visitor.ts";

const SIZE = ["--buffer-size", "1MiB"];

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "zerobuffer-view-test-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

/** The answer to one request with exactly these headers. */
async function ask(
  view: View,
  path: string,
  headers: Readonly<Record<string, string>>,
  method = "GET",
): Promise<string> {
  const socket = connect(Number(view.port), "127.0.0.1");
  const lines = [
    `${method} ${path} HTTP/1.1`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
  ];
  socket.write(`${[...lines, "Connection: close"].join("\r\n")}\r\n\r\n`);
  let answer = "";
  for await (const chunk of socket) answer += chunk;
  return answer;
}

const statusOf = (answer: string) => Number(/^HTTP\/1.1 (\d+)/.exec(answer)?.[1]);

describe("a request is refused", () => {
  test("under another name of the machine, or from another page", async () => {
    await using view = await View.start([]);
    const host = `127.0.0.1:${view.port}`;
    expect(statusOf(await ask(view, "/", { Host: host }))).toBe(200);
    expect(statusOf(await ask(view, "/", { Host: host, Origin: view.origin }))).toBe(200);
    for (const headers of [
      { Host: `localhost:${view.port}` },
      { Host: "evil.example" },
      { Host: "127.0.0.1" },
      { Host: host, Origin: "http://evil.example" },
      { Host: host, Origin: "null" },
      { Host: host, Origin: `https://${host}` },
    ]) {
      for (const path of ["/", "/page.js", "/socket", "/inspect/cam"]) {
        const answer = await ask(view, path, headers);
        expect([headers, path, statusOf(answer)]).toEqual([headers, path, 403]);
        expect(answer).not.toContain("<html");
      }
    }
    // A program that is no browser has no origin, and no business there.
    expect(statusOf(await ask(view, "/socket", { Host: host }))).toBe(403);
  });

  test("if it would change something, or has no such file", async () => {
    await using view = await View.start([]);
    const Host = `127.0.0.1:${view.port}`;
    for (const method of ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"]) {
      expect(statusOf(await ask(view, "/", { Host, "Content-Length": "0" }, method))).toBe(405);
    }
    for (const path of ["/package.json", "/page.ts", "/inspect"]) {
      expect(statusOf(await ask(view, path, { Host }))).toBe(404);
    }
  });

  test("for details without the token", async () => {
    using reader = new Reader(uniqueName(), { payloadSize: 1024, metadataSize: 0 });
    await using view = await View.start([]);
    const details = (token: string, name = reader.name) =>
      fetch(`${view.origin}/inspect/${encodeURIComponent(name)}`, {
        headers: { Authorization: `Bearer ${token}` },
      });
    expect((await fetch(`${view.origin}/inspect/${reader.name}`)).status).toBe(401);
    expect((await details("wrong")).status).toBe(401);
    expect((await details(view.token.slice(0, -1))).status).toBe(401);
    expect((await details(view.token, "no such buffer")).status).toBeGreaterThanOrEqual(400);
    expect((await details(view.token, "../../etc/passwd")).status).toBeGreaterThanOrEqual(400);
    const found = await details(view.token);
    expect(found.status).toBe(200);
    const document = await found.json();
    expectValid("inspect", document);
    expect(document).toMatchObject({ buffer_name: reader.name, state: "idle", payload_size: 1024 });
  });
});

test("the page may take nothing from anywhere else, and nobody may embed it", async () => {
  await using view = await View.start([]);
  const { headers } = await fetch(view.origin);
  const policy = headers.get("content-security-policy") ?? "";
  for (const part of ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"])
    expect(policy).toContain(part);
  expect(policy).not.toContain("unsafe");
  expect(headers.get("referrer-policy")).toBe("no-referrer");
  for (const path of ["/", "/page.js", "/page.css", "/icon.svg"]) {
    const text = await (await fetch(`${view.origin}${path}`)).text();
    // Names of XML and of licences are no requests.
    const addresses = [...text.matchAll(/(?:src|href|url\(|import|fetch)[^\n]{0,10}https?:/g)];
    expect(addresses.map(String)).toEqual([]);
  }
});

describe("a socket", () => {
  test("with the token hears what there is, and gets a frame each time that it is ready", async () => {
    const name = uniqueName();
    await using view = await View.start([name, ...SIZE]);
    await using visitor = new Visitor(view);
    await visitor.say({ token: view.token });
    await visitor.hears("overview");
    expect(visitor.texts.slice(0, 4).map(({ type }) => type)).toEqual([
      "welcome",
      "writer",
      "history",
      "overview",
    ]);
    using writer = await writeFrames(name, undefined, Uint8Array.of(1));
    await visitor.say({ ready: true });
    await eventually(() => visitor.frames.length === 1);
    for (let value = 2; value < 10; value++) writer.writeFrame(Uint8Array.of(value));
    await visitor.say({ ping: true });
    await visitor.hears("clock");
    // It has not said that it is ready.
    expect(visitor.frames.map(String)).toEqual(["1"]);
    await visitor.say({ ready: true });
    await eventually(() => visitor.frames.length === 2);
    expect(visitor.frames.map(String)).toEqual(["1", "9"]);
    expect(visitor.texts.findLast(({ type }) => type === "frame")).toMatchObject({
      arrived: 9,
      sequence: 9,
      size: 1,
    });
  });

  test.each([
    ["a wrong token", { token: "wrong" }],
    ["no token", { ready: true }],
    ["a token that is no text", { token: { length: 32 } }],
    ["no JSON", "hello"],
    ["JSON that is no object", "null"],
  ])("with %s is closed and hears nothing", async (_, message) => {
    await using view = await View.start([]);
    await using visitor = new Visitor(view);
    await visitor.say(message);
    expect((await visitor.ends())?.code).toBe(CloseCode.REFUSED);
    expect(visitor.texts).toEqual([]);
  });

  test("of another page is refused", async () => {
    await using view = await View.start([]);
    await using visitor = new Visitor(view, "http://evil.example");
    expect((await visitor.ends())?.code).not.toBe(1000);
    expect(visitor.texts).toEqual([]);
  });

  test("that sends more than a page would is closed, also after the token", async () => {
    await using view = await View.start([]);
    await using visitor = new Visitor(view);
    await visitor.say({ token: view.token });
    await visitor.hears("overview");
    await visitor.say({ token: "x".repeat(70_000) });
    await visitor.ends();
    await using other = new Visitor(view);
    await other.say({ token: view.token });
    await other.hears("welcome");
  });

  test("beyond the 16th hears that there are enough, until one of them goes", async () => {
    await using view = await View.start([]);
    const visitors = Array.from({ length: 16 }, () => new Visitor(view));
    for (const visitor of visitors) await (await visitor.say({ token: view.token })).hears("welcome");
    const late = await new Visitor(view).say({ token: view.token });
    expect(await late.ends()).toEqual({
      code: CloseCode.FULL,
      reason: "16 browsers are connected, which is the most",
    });
    await visitors[3]?.[Symbol.asyncDispose]();
    await using next = await new Visitor(view).say({ token: view.token });
    await next.hears("welcome");
    for (const visitor of visitors) await visitor[Symbol.asyncDispose]();
  });

  test("that shows no token makes room for those that do", async () => {
    await using view = await View.start([]);
    const silent = Array.from({ length: 100 }, () => new Visitor(view));
    await using visitor = await new Visitor(view).say({ token: view.token });
    await visitor.hears("welcome");
    // The rest goes when its time is over.
    await eventually(() => silent.every(({ closed }) => closed !== undefined));
    expect(visitor.closed).toBeUndefined();
  });
});

describe("the token", () => {
  test("is another one each time, but with a port of its own the same, which nobody else can read", async () => {
    const env = { XDG_STATE_HOME: directory };
    await using one = await View.start([], { env });
    await using two = await View.start([], { env });
    expect(one.token).toMatch(/^[\w-]{32}$/);
    expect(two.token).not.toBe(one.token);
    await two.end();
    await using three = await View.start(["--listen", two.port], { env });
    expect(three.port).toBe(two.port);
    await three.end();
    await using four = await View.start(["--listen", two.port], { env });
    expect(four.token).toBe(three.token);
    await four.end();
    const path = join(directory, "zerobuffer", `view-${two.port}.token`);
    expect(readFileSync(path, "utf8")).toBe(four.token);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    chmodSync(path, 0o644);
    await using five = await View.start(["--listen", two.port], { env });
    expect(five.token).not.toBe(four.token);
  });

  test("comes from a file", async () => {
    const path = join(directory, "token");
    writeFileSync(path, "a-token-of-20-letters\n");
    await using view = await View.start(["--token-file", path]);
    expect(view.token).toBe("a-token-of-20-letters");
    await using visitor = await new Visitor(view).say({ token: view.token });
    await visitor.hears("welcome");
  });

  test("is refused if it can be guessed, or is not there", async () => {
    const path = join(directory, "short");
    writeFileSync(path, "secret\n");
    const short = await run("view", "--token-file", path);
    expect([short.code, short.stderr]).toEqual([3, expect.stringContaining("16 to 256 letters")]);
    const missing = await run("view", "--token-file", join(directory, "none"));
    expect([missing.code, missing.stderr]).toEqual([2, expect.stringContaining("Cannot read")]);
  });
});

describe("--listen on another address", () => {
  test("warns, and prints no token that comes from a file", async () => {
    const path = join(directory, "token");
    writeFileSync(path, "a-token-of-20-letters\n");
    await using view = await View.start(["--listen", "0.0.0.0:0", "--token-file", path]);
    expect(view.token).toBe("");
    await view.child.logged("Other machines can reach 0.0.0.0.");
    expect(`${view.child.output}${view.child.printedToStderr}`).not.toContain("a-token-of");
  });

  test("prints a token of its own, once", async () => {
    await using view = await View.start(["--listen", "0.0.0.0:0", "-v"]);
    expect(view.token).toMatch(/^[\w-]{32}$/);
    await view.end();
    expect(`${view.child.output}${view.child.printedToStderr}`.split(view.token)).toHaveLength(2);
  });
});

test("--origin allows other addresses, and prints them", async () => {
  await using view = await View.start([
    "--origin",
    "http://localhost:8080",
    "--origin",
    "https://cam.example/",
  ]);
  const printed = view.child.output.toString();
  await view.child.printed(`https://cam.example/#${view.token}`);
  expect(printed).toContain(`or http://localhost:8080/#${view.token}`);
  for (const [Host, Origin] of [
    ["localhost:8080", "http://localhost:8080"],
    ["cam.example", "https://cam.example"],
  ] as const) {
    expect(statusOf(await ask(view, "/", { Host, Origin }))).toBe(200);
  }
  expect(statusOf(await ask(view, "/", { Host: "cam.example:1" }))).toBe(403);
});

test("SIGINT ends it at once, and those who look are told", async () => {
  const name = uniqueName();
  await using view = await View.start([name, ...SIZE, "--json-output"].slice(0, 3));
  await using visitor = await new Visitor(view).say({ token: view.token });
  await visitor.hears("welcome");
  view.child.kill("SIGINT");
  expect((await visitor.ends())?.code).toBe(CloseCode.ENDED);
  expect((await view.child.exited()).code).toBe(130);
});

test("--json-lines tells the address, the writer and the frames; the result has no token", async () => {
  const name = uniqueName();
  await using child = Child.cli([
    "view",
    name,
    ...SIZE,
    "--json-lines",
    "--interval-ms",
    "10",
    "--no-follow",
  ]);
  await child.receive("started");
  expect(await child.receive("ready")).toMatchObject({ buffer: name });
  const { address } = await child.receive("ready");
  const { origin, hash } = new URL(address);
  using writer = await writeFrames(name, { width: 1, height: 1, format: "gray8" }, Uint8Array.of(1));
  for (let event = await child.receiveAny(); event.frames !== 1; event = await child.receiveAny()) {
    expect(["peer", "progress"]).toContain(event.event);
  }
  writer.close();
  let last = await child.receiveAny();
  for (let next: typeof last | undefined = last; next !== undefined; next = await child.receiveOrEnd())
    last = next;
  const { event, time: _, ...document } = last;
  expect(event).toBe("result");
  expectValid("view", document);
  expect(document).toMatchObject({ address: `${origin}/`, frames_read: 1, frames_sent: 0, browsers: 0 });
  expect(JSON.stringify(document)).not.toContain(hash.slice(1));
  expect((await child.exited()).code).toBe(0);
});

test("--open opens the page, without the token on a command line", async () => {
  const opener = join(directory, "xdg-open");
  const seen = join(directory, "seen");
  writeFileSync(
    opener,
    `#!/bin/sh\nprintf '%s\\n' "$*" > "${seen}.new"; cat "$1" >> "${seen}.new"; mv "${seen}.new" "${seen}"\n`,
  );
  chmodSync(opener, 0o755);
  await using child = Child.cli(["view", "--open"], { env: { PATH: `${directory}:${process.env.PATH}` } });
  await child.printed(/Listening on \S+\n/);
  const address = /Listening on (\S+)/.exec(child.output.toString())?.[1] ?? "";
  await eventually(() => Bun.file(seen).size > 0);
  const [line = "", page] = readFileSync(seen, "utf8").split("\n");
  expect(page).toContain(address);
  expect(line).toMatch(/view\.html$/);
  expect(line).not.toContain(new URL(address).hash.slice(1));
  child.kill("SIGINT");
  await child.exited();
  expect(await Bun.file(line).exists()).toBe(false);
});

describe("arguments that contradict each other are refused", () => {
  test.each([
    [["--snapshot", "x.png"], "--snapshot needs a buffer"],
    [["--video", "4x4:RGB"], "--video needs a buffer"],
    [["cam", "--snapshot", "x.png", "--listen", "0"], "--snapshot and --listen"],
    [["--open", "--no-open"], "--open and --no-open"],
    [["--origin", "localhost"], "http://localhost:8080"],
    [["--origin", "http://localhost:8080/page"], "http://localhost:8080"],
    [["cam", "--colour", "bt2020"], "bt709-full"],
  ])("%p", async (args, message) => {
    const { code, stderr } = await run("view", ...args);
    expect([code, stderr]).toEqual([3, expect.stringContaining(message)]);
  });
});
