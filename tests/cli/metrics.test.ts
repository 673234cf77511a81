import { describe, expect, test } from "bun:test";
import parsePrometheus from "parse-prometheus-text-format";
import { Reader, Writer } from "../../src/core/index.ts";
import { uniqueName, WAIT_LIMIT_MS } from "../support/buffers.ts";
import { faultsOfOpenMetrics, samplesOf } from "../support/openmetrics.ts";
import { Child, run, runJson } from "../support/process.ts";
import { expectValid } from "../support/schemas.ts";

const OPEN_METRICS = {
  Accept: "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2",
};

/** A metrics server on a free port, and its address. */
async function serve(...args: string[]): Promise<{ child: Child; address: string }> {
  const child = Child.cli(["metrics", "--listen", "0", ...args]);
  await child.printed("/metrics");
  const address = /http:\/\/127\.0\.0\.1:\d+\/metrics/.exec(child.output.toString())?.[0] ?? "";
  return { child, address };
}

/** The values of a buffer in a text, by the names of the samples and the labels that are not the buffer's name. */
function valuesOf(text: string, name: string): Record<string, number> {
  return Object.fromEntries(
    samplesOf(text)
      .filter(({ labels }) => labels.buffer === name)
      .map(({ name: sample, labels: { buffer: _, ...labels }, value }) => [
        [sample.replace("zerobuffer_buffer_", ""), ...Object.values(labels)].join(" "),
        value,
      ]),
  );
}

/** A buffer of this process, through which frames pass. */
function makePair() {
  const reader = new Reader(uniqueName(), { payloadSize: 64 * 1024, metadataSize: 0 });
  const writer = new Writer(reader.name);
  return {
    name: reader.name,
    pass(frames: number, size: number): void {
      for (let i = 0; i < frames; i++) {
        writer.writeFrame(new Uint8Array(size));
        reader.readFrame(WAIT_LIMIT_MS).release();
      }
    },
    [Symbol.dispose](): void {
      writer.close();
      reader.close();
    },
  };
}

describe("metrics", () => {
  test("prints once what OpenMetrics asks for", async () => {
    using pair = makePair();
    pair.pass(3, 500);
    const { code, stdout, stderr } = await run("metrics");
    expect([code, stderr]).toEqual([0, ""]);
    const text = stdout.toString();
    expect(faultsOfOpenMetrics(text)).toEqual([]);
    const { written_frames_created, read_frames_created, ...values } = valuesOf(text, pair.name);
    expect(values).toEqual({
      "state live": 1,
      "state idle": 0,
      "state orphan": 0,
      "state stale": 0,
      "state corrupt": 0,
      size_bytes: 65_536 + 128,
      ring_bytes: 65_536,
      used_bytes: 0,
      fill_ratio: 0,
      written_frames_total: 3,
      read_frames_total: 3,
      frame_bytes: 500,
      "peer_alive writer": 1,
      "peer_alive reader": 1,
      "peer_waiting writer": 0,
      "peer_waiting reader": 0,
    });
    expect(read_frames_created).toBe(written_frames_created);
    expect(Math.abs((written_frames_created ?? 0) - Date.now() / 1000)).toBeLessThan(60);
  });

  test("is one document with --json-output", async () => {
    using pair = makePair();
    const { code, document } = await runJson("metrics");
    expect(code).toBe(0);
    expectValid("metrics", document);
    expect([document.address, document.scrapes]).toEqual([null, 0]);
    const family = document.families.find(
      ({ name }: { name: string }) => name === "zerobuffer_buffer_ring_bytes",
    );
    expect(family).toMatchObject({ type: "gauge", unit: "bytes" });
    expect(family.samples).toContainEqual({
      name: "zerobuffer_buffer_ring_bytes",
      labels: { buffer: pair.name },
      value: 65_536,
    });
  });
});

describe("metrics --listen", () => {
  test("answers in the format that is asked for, and counters only grow", async () => {
    using pair = makePair();
    const { child, address } = await serve();
    await using _ = child;
    const seen: { frames: number; bytes: number }[] = [];
    for (let scrape = 0; scrape < 4; scrape++) {
      const response = await fetch(address, { headers: OPEN_METRICS });
      expect(response.status).toBe(200);
      expect(response.headers.get("content-type")).toBe(
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
      );
      const text = await response.text();
      expect(faultsOfOpenMetrics(text)).toEqual([]);
      const values = valuesOf(text, pair.name);
      seen.push({ frames: values.written_frames_total ?? -1, bytes: values.written_bytes_total ?? -1 });
      pair.pass(10, 500);
    }
    expect(seen).toEqual([0, 10, 20, 30].map((frames) => ({ frames, bytes: frames * 500 })));

    const older = await fetch(address);
    expect(older.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    const families = parsePrometheus(await older.text());
    const written = families.find(({ name }) => name === "zerobuffer_buffer_written_frames_total");
    expect(written?.type).toBe("COUNTER");
    expect(written?.metrics).toContainEqual({ value: "40", labels: { buffer: pair.name } });
    child.kill("SIGINT");
    const { code, stderr } = await child.exited();
    expect([code, stderr]).toEqual([130, "zerobuffer metrics: Stopped by SIGINT.\n"]);
  });

  test("begins anew, with a later creation, for another buffer of the same name", async () => {
    const { child, address } = await serve();
    await using _ = child;
    const scrape = async (name: string) => {
      const response = await fetch(address, { headers: OPEN_METRICS });
      return valuesOf(await response.text(), name);
    };
    const first = makePair();
    first.pass(5, 100);
    await scrape(first.name);
    first.pass(5, 100);
    const before = await scrape(first.name);
    first[Symbol.dispose]();
    expect(await scrape(first.name)).toEqual({});
    using reader = new Reader(first.name, { payloadSize: 4096 });
    const after = await scrape(reader.name);
    expect([before.written_frames_total, before.written_bytes_total]).toEqual([10, 500]);
    expect([after.written_frames_total, after.written_bytes_total]).toEqual([0, 0]);
    expect(after.written_frames_created).toBeGreaterThan(before.written_frames_created ?? 0);
    expect(after.written_bytes_created).toBeGreaterThanOrEqual(before.written_bytes_created ?? 0);
  });

  test("answers GET at /metrics, and nothing else", async () => {
    const { child, address } = await serve();
    await using _ = child;
    const ask = async (path: string, method: string) => {
      const response = await fetch(new URL(path, address), { method });
      return [response.status, response.headers.get("allow")];
    };
    expect(await ask("/metrics?x=1", "GET")).toEqual([200, null]);
    for (const method of ["HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
      expect(await ask("/metrics", method)).toEqual([405, "GET"]);
    for (const path of ["/", "/metrics/", "/Metrics", "/favicon.ico"])
      expect(await ask(path, "GET")).toEqual([404, null]);
    expect(await ask("/", "POST")).toEqual([404, null]);
  });

  test("says where it listens, what it has done, and with -v each scrape", async () => {
    const { child, address } = await serve("--json-lines", "-v");
    await using _ = child;
    for (let scrape = 0; scrape < 2; scrape++) await (await fetch(address)).text();
    child.kill("SIGTERM");
    const { code, stdout, stderr } = await child.exited();
    const lines = stdout
      .toString()
      .trimEnd()
      .split("\n")
      .map((line) => expectValid("event", JSON.parse(line)));
    expect(code).toBe(143);
    expect(lines.map(({ event }) => event)).toEqual(["started", "ready", "result"]);
    expect(lines[1].address).toBe(address);
    const { event, time, ...result } = lines[2];
    expect(expectValid("metrics", result)).toMatchObject({ address, scrapes: 2, families: [] });
    expect(stderr).toContain("Scrape 2.");
  });

  test("refuses a port that another program has, and an address that is none of this machine's", async () => {
    const { child, address } = await serve();
    await using _ = child;
    const { port } = new URL(address);
    const taken = await run("metrics", "--listen", port);
    expect([taken.code, taken.stdout.toString(), taken.stderr]).toEqual([
      2,
      "",
      `zerobuffer metrics: Cannot listen on 127.0.0.1:${port}: another program has it.\n` +
        "  Choose another port, or --listen 0 for one that is free.\n",
    ]);
    const { code, document } = await runJson("metrics", "--listen", `192.0.2.1:${port}`);
    expect([code, expectValid("metrics", document).error.code]).toEqual([2, "IO_ERROR"]);
    expect(document.error.message).toStartWith(`Cannot listen on 192.0.2.1:${port}: `);
  });
});
