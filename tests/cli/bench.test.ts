import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "../support/buffers.ts";
import { Child, run, runJson, runOnTerminal } from "../support/process.ts";
import { expectValid } from "../support/schemas.ts";

/** Little enough for a busy machine. */
const short = ["--frames", "50", "--repeat", "1", "--buffer-size", "1MiB"];
/** The commands answer within 100 ms; the rest is for a busy machine that runs several tests at once. */
const ANSWER_MS = 1500;

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "zerobuffer-bench-test-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

/** The processes that a process has started, with their arguments. */
function childrenOf(parent: number): { pid: number; role: string }[] {
  return readdirSync("/proc").flatMap((entry) => {
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, "latin1");
      const [state, ppid] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      if (ppid !== `${parent}` || state === "Z") return [];
      const role = /"role":"(\w+)"/.exec(readFileSync(`/proc/${entry}/cmdline`, "latin1"))?.[1];
      return role === undefined ? [] : [{ pid: Number(entry), role }];
    } catch {
      return [];
    }
  });
}

/** Waits until the processes of a measurement run. */
async function workersOf(bench: Child, count = 2) {
  await eventually(() => childrenOf(bench.pid).length === count);
  return childrenOf(bench.pid);
}

/** What a run of bench has in shared memory. */
function buffersOf(bench: Child): string[] {
  return ["/dev/shm", "/tmp/zerobuffer", "/tmp/zerobuffer/locks"]
    .filter((place) => existsSync(place))
    .flatMap((place) => readdirSync(place))
    .filter((name) => name.includes(`bench-${bench.pid}-`));
}

/** A process that bench has killed may take an instant to go; its buffers go before bench does. */
async function areEnded(bench: Child, workers: readonly { pid: number }[]): Promise<void> {
  expect(buffersOf(bench)).toEqual([]);
  await areGone(bench, workers);
}

async function areGone(bench: Child, workers: readonly { pid: number }[]): Promise<void> {
  await eventually(() => workers.every(({ pid }) => !existsSync(`/proc/${pid}`)));
  await eventually(() => buffersOf(bench).length === 0);
}

describe("bench", () => {
  test("measures every work over every transport, exactly as many frames as asked for", async () => {
    const { code, document, stderr } = await runJson("bench", "--baselines", "--sizes", "64,300KB", ...short);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expectValid("bench", document);
    const { measurements } = document;
    expect(
      measurements.map(
        ({ work, transport, frame_size }: Record<string, unknown>) => `${work} ${transport} ${frame_size}`,
      ),
    ).toEqual(
      ["throughput", "latency", "relay", "fanout", "duplex"].flatMap((work) =>
        [64, 300_000].flatMap((size) =>
          ["zerobuffer", ...(work === "fanout" ? [] : ["pipe", "socket"])].map(
            (transport) => `${work} ${transport} ${size}`,
          ),
        ),
      ),
    );
    for (const { work, samples, latency_us, processes, frames_per_second } of measurements) {
      expect(samples.map(({ frames }: { frames: number }) => frames)).toEqual([50]);
      expect(samples[0].duration_seconds).toBeGreaterThan(0);
      expect(frames_per_second.median).toBeGreaterThan(0);
      expect(latency_us === null).toBe(work === "throughput" || work === "fanout");
      expect(processes).toHaveLength(work === "fanout" ? 5 : 2);
      for (const { peak_memory_bytes } of processes) expect(peak_memory_bytes.median).toBeGreaterThan(1e6);
    }
  });

  test("orders the percentiles, and takes medians and ranges over the samples", async () => {
    const { document } = await runJson(
      "bench",
      "latency",
      "--sizes",
      "64",
      "--frames",
      "50",
      "--repeat",
      "3",
    );
    const [{ samples, latency_us }] = document.measurements;
    expect(samples).toHaveLength(3);
    for (const { latency_us: us } of samples) {
      const rising = [us.min, us.p50, us.p90, us.p99, us.p999, us.p9999, us.max];
      expect(rising).toEqual(rising.toSorted((a, b) => a - b));
      expect(us.min).toBeGreaterThan(0);
    }
    const medians = samples.map((sample: { latency_us: { p50: number } }) => sample.latency_us.p50);
    const [min, median, max] = medians.toSorted((a: number, b: number) => a - b);
    expect(latency_us.p50).toEqual({ median, min, max });
  });

  test("keeps the rates, one after another", async () => {
    const options = ["--sizes", "1080p", "--buffer-size", "8MiB", "--rate", "200,50", "--frames", "20"];
    const { document } = await runJson("bench", "throughput", "latency", ...options, "--repeat", "1");
    const paced = document.measurements.map(
      ({ work, rate, frame_size }: Record<string, unknown>) => `${work} ${rate} ${frame_size}`,
    );
    const size = 3_110_416;
    expect(paced).toEqual([
      `throughput 200 ${size}`,
      `throughput 50 ${size}`,
      `latency 200 ${size}`,
      `latency 50 ${size}`,
    ]);
    // Never faster; how much slower is up to the machine.
    for (const { rate, samples } of document.measurements) {
      expect(samples[0].duration_seconds).toBeGreaterThan(0.9 * (19 / rate));
    }
  });

  test.each(["adaptive", "spin", "block"])(
    "waits as told (%s), and sends frames in batches",
    async (wait) => {
      const options = ["--sizes", "1KiB", "--frames", "70", "--repeat", "1", "--baselines"];
      const works = ["throughput", "latency", "relay"];
      const { code, document } = await runJson(
        ...["bench", ...works, ...options, "--wait", wait, "--batch-size", "7"],
      );
      expect(code).toBe(0);
      expectValid("bench", document);
      expect(document.settings).toMatchObject({ wait, batch_size: 7 });
      expect(document.measurements).toHaveLength(9);
      for (const { samples, work, batch_size } of document.measurements) {
        expect(samples[0].frames).toBeGreaterThan(0);
        expect(batch_size).toBe(work === "throughput" ? 7 : 1);
      }
    },
  );

  test("shares through a relay, and to three processes", async () => {
    const options = ["--sizes", "100KB", "--sharing", ...short];
    const { code, document } = await runJson("bench", "relay", "fanout", ...options);
    expect(code).toBe(0);
    expectValid("bench", document);
    expect(document.settings.sharing).toBe(true);
    const roles = document.measurements.map(({ processes }: { processes: { role: string }[] }) =>
      processes.map(({ role }) => role),
    );
    expect(roles).toEqual([
      ["initiator", "relay"],
      ["source", "relay", "sink", "sink", "sink"],
    ]);
    const refused = await runJson("bench", "latency", "--sharing");
    expect([refused.code, refused.document.error.code]).toEqual([3, "USAGE"]);
  });

  test("lasts as long as asked for", async () => {
    const { document } = await runJson("bench", "latency", "--sizes", "64", "--duration", "200ms");
    expect(document.settings).toMatchObject({
      duration_ms: 200,
      frames: null,
      repeat: 3,
      works: ["latency"],
    });
    for (const { duration_seconds } of document.measurements[0].samples) {
      expect(duration_seconds).toBeGreaterThanOrEqual(0.2);
    }
  });

  test("shows a table for each work", async () => {
    const { code, stdout, stderr } = await run(
      "bench",
      "throughput",
      "duplex",
      ...short,
      "--sizes",
      "64,4KiB",
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const text = stdout.toString();
    expect(text).toMatch(/^zerobuffer \d.*processor.*Bun \d/);
    expect(text).toMatch(/^throughput, as fast as possible: .*source \+ sink/m);
    expect(text).toMatch(/^duplex, as fast as possible: .*client \+ server/m);
    expect(text).toMatch(/^ *64 B +zerobuffer +[\d,]+ .*[KMG]iB\/s +[█▏▎▍▌▋▊▉]+ /m);
    expect(text).toMatch(/^4 KiB +zerobuffer +[\d.]+ [µm]s +[█▏▎▍▌▋▊▉]+ /m);
  });

  test("shows on a terminal what it is about", async () => {
    const { code, output } = await runOnTerminal(["bench", "latency", ...short, "--sizes", "64"]);
    expect(code).toBe(0);
    expect(output).toMatch(/Measuring [█░]+ \d+ %.*: latency of 64 bytes over zerobuffer/);
    expect(output).toContain("\x1b[1mlatency, as fast as possible\x1b[22m");
  });
});

describe("the page of a report", () => {
  test("holds the result and needs nothing else", async () => {
    const path = join(directory, "report.html");
    const { code, document } = await runJson("bench", "latency", ...short, "--sizes", "64", "--report", path);
    expect(code).toBe(0);
    expect(document.report).toBe(path);
    const page = readFileSync(path, "utf8");
    expect(page).toStartWith("<!doctype html>");
    expect(page).not.toContain("/* insert");
    expect(page).not.toMatch(/\b(src|href)=|@import|url\(/);
    const [, data = ""] =
      /<script type="application\/json" id="data">\s*(.*?)\s*<\/script>/s.exec(page) ?? [];
    const [table] = JSON.parse(data).tables;
    expect(table.title).toBe("latency, as fast as possible");
    expect(table.measurements[0].latency_us).toEqual(document.measurements[0].latency_us);
    expect(page).toContain("new uPlot(");
  });

  test("is not touched by a run that fails", async () => {
    const path = join(directory, "kept.html");
    writeFileSync(path, "kept");
    await using bench = Child.cli([
      "bench",
      "latency",
      "--duration",
      "1m",
      "--sizes",
      "64",
      "--report",
      path,
    ]);
    await workersOf(bench);
    bench.kill("SIGTERM");
    expect((await bench.exited()).code).toBe(143);
    expect(readFileSync(path, "utf8")).toBe("kept");
  });

  test("is refused where it cannot be written, before anything is measured", async () => {
    const { code, document } = await runJson("bench", "--report", join(directory, "no", "report.html"));
    expect(code).toBe(2);
    expect(document.error.code).toBe("IO_ERROR");
    expect(document.measurements).toEqual([]);
  });
});

describe("bench refuses", () => {
  test.each([
    [["speed"], "<work> takes throughput, latency, relay, fanout or duplex, not"],
    [["--sizes", "64,big"], "Option --sizes takes a size from 1 to 4GiB"],
    [["--sizes", "64,"], "Option --sizes takes"],
    [["--rate", "-1"], "Option --rate takes a number from 0"],
    [["--duration", "0"], "Option --duration takes more than 0"],
    [["--frames", "5", "--duration", "1s"], "cannot be combined"],
    [["latency", "--batch-size", "4"], "Option --batch-size is for throughput without a rate"],
    [["--batch-size", "4", "--rate", "30"], "Option --batch-size is for throughput without a rate"],
    [["--batch-size", "4", "--frames", "10"], "Option --frames takes a multiple of --batch-size, not 10."],
    [["--repeat", "0"], "Option --repeat takes a whole number from 1"],
    [["--sizes", "4MiB", "--buffer-size", "4MiB"], "does not fit a ring of 4,194,304 bytes"],
    [
      ["--sizes", "1KiB,2GiB", "--buffer-size", "8GiB", "--batch-size", "3"],
      "more than one call takes (4 GiB)",
    ],
  ])("%j", async (args, message) => {
    const { code, document } = await runJson("bench", ...args);
    expect(code).toBe(3);
    expectValid("bench", document);
    expect(document.error.message).toContain(message);
  });

  test("a frame that does not fit only where it was asked for", async () => {
    const { document } = await runJson(
      "bench",
      "duplex",
      "-n",
      "5",
      "--repeat",
      "1",
      "--buffer-size",
      "4KiB",
    );
    expect(document.settings.sizes).toEqual([64, 256, 1024]);
  });
});

describe("bench ends its processes", () => {
  test.each([
    ["SIGHUP", 129, "throughput"],
    ["SIGINT", 130, "latency"],
    ["SIGTERM", 143, "relay"],
    ["SIGINT", 130, "duplex"],
  ] as const)("and removes their buffers at %s (%d), in %s", async (signal, exitCode, work) => {
    await using bench = Child.cli(["bench", work, "--duration", "1m", "--sizes", "1KiB", "--json-output"]);
    const workers = await workersOf(bench);
    await eventually(() => buffersOf(bench).length > 0);
    const stoppedAt = performance.now();
    bench.kill(signal);
    const { code, document } = await bench.report();
    expect(performance.now() - stoppedAt).toBeLessThan(ANSWER_MS);
    expect(code).toBe(exitCode);
    expect(document.error.code).toBe("INTERRUPTED");
    await areEnded(bench, workers);
  });

  test.each(["pipe", "socket"])("at a signal while frames go over a %s", async (transport) => {
    const args = [
      "latency",
      "--sizes",
      "64",
      "--baselines",
      "--rate",
      "10",
      "--frames",
      "20",
      "--repeat",
      "1",
    ];
    await using bench = Child.cli(["bench", ...args, "-v"]);
    await bench.logged(`over ${transport}`);
    const workers = await workersOf(bench);
    bench.kill("SIGINT");
    expect((await bench.exited()).code).toBe(130);
    await areEnded(bench, workers);
  });

  test("after what was measured before is in the document", async () => {
    const args = ["latency", "--sizes", "64", "--rate", "0,1", "--frames", "3", "--repeat", "1"];
    await using bench = Child.cli(["bench", ...args, "--json-output", "-v"]);
    await bench.logged("at 1/s");
    bench.kill("SIGINT");
    const { code, document } = await bench.report();
    expect(code).toBe(130);
    expectValid("bench", document);
    expect(document.measurements.map(({ rate }: { rate: number | null }) => rate)).toEqual([null]);
  });

  test.each(["throughput", "latency", "duplex"])("when one of them is killed, in %s", async (work) => {
    await using bench = Child.cli(["bench", work, "--duration", "1m", "--sizes", "1KiB", "--json-output"]);
    const workers = await workersOf(bench);
    await eventually(() => buffersOf(bench).length > 0);
    process.kill(workers[1]!.pid, "SIGKILL");
    const { code, document } = await bench.report();
    expect(code).toBe(2);
    expect(["INCOMPLETE", "READER_DEAD", "WRITER_DEAD"]).toContain(document.error.code);
    await areEnded(bench, workers);
  });

  test.each(["throughput", "relay", "duplex"])("even if it is killed itself, in %s", async (work) => {
    await using bench = Child.cli(["bench", work, "--duration", "1m", "--sizes", "1KiB"]);
    const workers = await workersOf(bench);
    await eventually(() => buffersOf(bench).length > 0);
    bench.kill("SIGKILL");
    await bench.exited();
    await areGone(bench, workers);
  });
});

describe("a process of bench", () => {
  test("is no command", async () => {
    const { stdout } = await run("--help");
    expect(stdout.toString()).toContain("bench ");
    expect(stdout.toString()).not.toContain("worker");
    const byHand = await run("@bench-worker");
    expect(byHand.code).toBe(1);
    expect(byHand.stdout.toString()).toContain("Only zerobuffer bench starts this process");
  });
});
