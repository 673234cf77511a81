// The texts of metrics, held against the rules of OpenMetrics and read by a parser of the older format.

import { describe, expect, test } from "bun:test";
import parsePrometheus from "parse-prometheus-text-format";
import type { Sample } from "../../../src/cli/sampling.ts";
import { formatFor, textOf } from "../../../src/commands/metrics/exposition.ts";
import { familiesOf } from "../../../src/commands/metrics/families.ts";
import { faultsOfOpenMetrics } from "../../support/openmetrics.ts";

function sampleOf(name: string, changes: Partial<Sample["snapshot"]> = {}): Sample {
  const oieb = {
    oiebSize: 128,
    payloadSize: 1000,
    payloadFreeBytes: 750,
    payloadWrittenCount: 9,
    payloadReadCount: 8,
  };
  return {
    snapshot: {
      name,
      state: "live",
      fault: null,
      size: 1128,
      oieb: oieb as never,
      sharing: null,
      writer: { pid: 1, localPid: 1, command: "w", alive: true },
      reader: null,
      ...changes,
    },
    createdMs: 1_700_000_000_123.4,
    waits: { writer: true, reader: false },
    frameSize: 99.5,
    framesPerSecond: 1,
    bytesPerSecond: 1,
    bytesSeen: 12_345,
    firstSeenMs: 1_700_000_001_000,
    quietSeconds: 0,
    hasMoved: true,
  };
}

const unreadable = { state: null, size: 5, oieb: null, writer: null, reader: null, fault: "forbidden" };

describe("the text", () => {
  const families = familiesOf([sampleOf("cam"), sampleOf("log", unreadable)], true);

  test("follows the rules of OpenMetrics", () => {
    const text = textOf(families, "openMetrics");
    expect(faultsOfOpenMetrics(text)).toEqual([]);
    expect(text.split("\n").filter((line) => line.includes('"cam"'))).toEqual([
      ...["live", "idle", "orphan", "stale", "corrupt"].map(
        (state) =>
          `zerobuffer_buffer_state{buffer="cam",zerobuffer_buffer_state="${state}"} ${state === "live" ? 1 : 0}`,
      ),
      'zerobuffer_buffer_size_bytes{buffer="cam"} 1128',
      'zerobuffer_buffer_ring_bytes{buffer="cam"} 1000',
      'zerobuffer_buffer_used_bytes{buffer="cam"} 250',
      'zerobuffer_buffer_fill_ratio{buffer="cam"} 0.25',
      'zerobuffer_buffer_written_frames_total{buffer="cam"} 9',
      'zerobuffer_buffer_written_frames_created{buffer="cam"} 1700000000.123',
      'zerobuffer_buffer_read_frames_total{buffer="cam"} 8',
      'zerobuffer_buffer_read_frames_created{buffer="cam"} 1700000000.123',
      'zerobuffer_buffer_written_bytes_total{buffer="cam"} 12345',
      'zerobuffer_buffer_written_bytes_created{buffer="cam"} 1700000001',
      'zerobuffer_buffer_frame_bytes{buffer="cam"} 99.5',
      'zerobuffer_buffer_peer_alive{buffer="cam",role="writer"} 1',
      'zerobuffer_buffer_peer_alive{buffer="cam",role="reader"} 0',
      'zerobuffer_buffer_peer_waiting{buffer="cam",role="writer"} 1',
      'zerobuffer_buffer_peer_waiting{buffer="cam",role="reader"} 0',
    ]);
  });

  test("says of a buffer that cannot be read what is known, and no zeros for what is not", () => {
    const lines = textOf(families, "openMetrics").split("\n");
    const ofLog = lines.filter((line) => line.includes('"log"')).map((line) => line.replace(/\{.*\}/, ""));
    expect(new Set(ofLog)).toEqual(
      new Set([
        "zerobuffer_buffer_state 0",
        "zerobuffer_buffer_size_bytes 5",
        "zerobuffer_buffer_frame_bytes 99.5",
        "zerobuffer_buffer_peer_waiting 1",
        "zerobuffer_buffer_peer_waiting 0",
      ]),
    );
  });

  test("is read by a parser of the older format", () => {
    const parsed = parsePrometheus(textOf(families, "text"));
    const family = (name: string) => parsed.find((one) => one.name === name);
    expect(family("zerobuffer_buffer_written_frames_total")).toEqual({
      name: "zerobuffer_buffer_written_frames_total",
      help: "Frames written since the buffer was made, markers of wraps included.",
      type: "COUNTER",
      metrics: [{ value: "9", labels: { buffer: "cam" } }],
    });
    expect(family("zerobuffer_build_info")?.type).toBe("GAUGE");
    expect(family("zerobuffer_buffer_state")?.metrics).toContainEqual({
      value: "1",
      labels: { buffer: "cam", zerobuffer_buffer_state: "live" },
    });
    expect(parsed.map(({ name }) => name).filter((name) => name.endsWith("_created"))).toEqual([]);
    expect(new Set(parsed.map(({ type }) => type))).toEqual(new Set(["GAUGE", "COUNTER"]));
  });

  test("has no counter of bytes where nobody has counted them", () => {
    const names = familiesOf([sampleOf("cam")], false).map(({ name }) => name);
    expect(names).not.toContain("zerobuffer_buffer_written_bytes");
    expect(names).toContain("zerobuffer_buffer_frame_bytes");
  });

  test("without buffers is right, too", () => {
    for (const hasWatched of [true, false])
      expect(faultsOfOpenMetrics(textOf(familiesOf([], hasWatched), "openMetrics"))).toEqual([]);
    expect(textOf(familiesOf([], true), "text")).toMatch(
      /^# HELP .*\n# TYPE .*\nzerobuffer_build_info\{.*\} 1\n$/,
    );
  });

  test("escapes what labels and helps may have in them", () => {
    const samples = [{ name: "a", labels: { label: 'a"b\\c\nd' }, value: 1e21 }];
    const family = { name: "a", type: "gauge", unit: null, help: 'x\ny\\"', samples } as const;
    const text = textOf([{ ...family, samples }], "openMetrics");
    expect(text).toBe('# TYPE a gauge\n# HELP a x\\ny\\\\\\"\na{label="a\\"b\\\\c\\nd"} 1e+21\n# EOF\n');
    expect(faultsOfOpenMetrics(text)).toEqual([]);
    expect(parsePrometheus(textOf([{ ...family, samples }], "text"))[0]?.metrics[0]?.labels).toEqual({
      label: 'a"b\\c\nd',
    });
  });
});

describe("the format", () => {
  // What Prometheus 2.5, 2.50 and 3 ask for, and curl, browsers and others.
  test.each([
    [null, "text"],
    ["", "text"],
    ["*/*", "text"],
    ["text/html,application/xhtml+xml,*/*;q=0.8", "text"],
    ["application/json", "text"],
    ["application/openmetrics-text", "openMetrics"],
    ["application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "text"],
    [
      "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
      "openMetrics",
    ],
    [
      "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,/;q=0.1",
      "openMetrics",
    ],
    ["text/plain;version=0.0.4, application/openmetrics-text;version=1.0.0;q=0.5", "text"],
    ["application/openmetrics-text;version=1.0.0;q=0, text/plain;q=0.1", "text"],
    ["APPLICATION/OPENMETRICS-TEXT ; Version=1.0.0", "openMetrics"],
    [
      "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7",
      "text",
    ],
  ] as const)("for a client that accepts %p is %p", (accept, format) => {
    expect(formatFor(accept)).toBe(format);
  });
});
