// What is measured of every buffer.

import { version } from "../../../package.json";
import type { Sample } from "../../cli/sampling.ts";
import type { BufferState } from "../../core/inspection.ts";
import type { MetricFamily } from "../../schemas/metrics.ts";

type MetricSample = MetricFamily["samples"][number];

const PREFIX = "zerobuffer_buffer_";

const STATES: readonly BufferState[] = ["live", "idle", "orphan", "stale", "corrupt"];
const ROLES = ["writer", "reader"] as const;

/** A figure of a buffer; null if it cannot be known. */
type Figure = (sample: Sample) => number | null;

/**
 * The metrics of all buffers.
 *
 * @param hasWatched whether the samples are of a {@link Sampler} that stays: only that counts bytes.
 */
export function familiesOf(samples: readonly Sample[], hasWatched: boolean): MetricFamily[] {
  const gauge = (name: string, unit: string, help: string, figure: Figure) => {
    const family = define(name, "gauge", unit, help);
    return { ...family, samples: samples.flatMap((sample) => pointOf(family.name, sample, {}, figure)) };
  };
  const counter = (name: string, unit: string, help: string, figure: Figure, createdMs: Figure) => {
    const family = define(name, "counter", unit, help);
    const points = samples.flatMap((sample) => [
      ...pointOf(`${family.name}_total`, sample, {}, figure),
      ...(figure(sample) === null ? [] : pointOf(`${family.name}_created`, sample, {}, inSeconds(createdMs))),
    ]);
    return { ...family, samples: points };
  };
  return [
    {
      name: "zerobuffer_build",
      type: "info",
      unit: null,
      help: "The version of zerobuffer that has measured.",
      samples: [{ name: "zerobuffer_build_info", labels: { version }, value: 1 }],
    },
    stateFamily(samples),
    gauge("size_bytes", "bytes", "Size of the shared memory.", ({ snapshot }) => snapshot.size),
    gauge("ring_bytes", "bytes", "Size of the ring.", (sample) => oiebOf(sample)?.payloadSize ?? null),
    gauge("used_bytes", "bytes", "Bytes of the ring that are in use: unread or held frames.", usedOf),
    gauge("fill_ratio", "ratio", "The part of the ring that is in use, from 0 to 1.", (sample) => {
      const used = usedOf(sample);
      return used === null ? null : used / (oiebOf(sample)?.payloadSize ?? 1);
    }),
    counter(
      "written_frames",
      "frames",
      "Frames written since the buffer was made, markers of wraps included.",
      (sample) => oiebOf(sample)?.payloadWrittenCount ?? null,
      ({ createdMs }) => createdMs,
    ),
    counter(
      "read_frames",
      "frames",
      "Frames read since the buffer was made; some implementations count markers of wraps.",
      (sample) => oiebOf(sample)?.payloadReadCount ?? null,
      ({ createdMs }) => createdMs,
    ),
    ...(hasWatched
      ? [
          counter(
            "written_bytes",
            "bytes",
            "Bytes of frames written since this server has seen the buffer first; an estimate, frames times frame_bytes.",
            (sample) => (oiebOf(sample) === undefined ? null : sample.bytesSeen),
            ({ firstSeenMs }) => firstSeenMs,
          ),
        ]
      : []),
    gauge(
      "frame_bytes",
      "bytes",
      "Mean size of up to 16 frames at the start of the ring, without their headers.",
      ({ frameSize }) => frameSize,
    ),
    byRole(samples, "peer_alive", "Whether the writer, or the reader, is there and alive.", (sample, role) =>
      sample.snapshot.oieb === null && sample.snapshot.state === null
        ? null
        : Number(sample.snapshot[role]?.alive ?? false),
    ),
    byRole(
      samples,
      "peer_waiting",
      "Whether the writer sleeps until there is room, or the reader until there is a frame. Only on Linux.",
      ({ waits }, role) => (waits[role] === null ? null : Number(waits[role])),
    ),
  ];
}

function define(name: string, type: MetricFamily["type"], unit: string | null, help: string) {
  return { name: `${PREFIX}${name}`, type, unit, help };
}

function stateFamily(samples: readonly Sample[]): MetricFamily {
  const help =
    "live: writer and reader are alive; idle: the reader alone; orphan: the writer alone; stale: neither.";
  const family = define("state", "stateset", null, help);
  const points = samples.flatMap((sample) =>
    STATES.flatMap((state) =>
      pointOf(family.name, sample, { [family.name]: state }, () => Number(sample.snapshot.state === state)),
    ),
  );
  return { ...family, samples: points };
}

function byRole(
  samples: readonly Sample[],
  name: string,
  help: string,
  figure: (sample: Sample, role: (typeof ROLES)[number]) => number | null,
): MetricFamily {
  const family = define(name, "gauge", null, help);
  const points = samples.flatMap((sample) =>
    ROLES.flatMap((role) => pointOf(family.name, sample, { role }, () => figure(sample, role))),
  );
  return { ...family, samples: points };
}

function pointOf(
  name: string,
  sample: Sample,
  labels: Readonly<Record<string, string>>,
  figure: Figure,
): MetricSample[] {
  const value = figure(sample);
  return value === null ? [] : [{ name, labels: { buffer: sample.snapshot.name, ...labels }, value }];
}

function inSeconds(figure: Figure): Figure {
  return (sample) => {
    const ms = figure(sample);
    return ms === null ? null : Math.round(ms) / 1000;
  };
}

/** The control block, if its figures mean something. */
function oiebOf({ snapshot: { oieb, state } }: Sample) {
  return oieb === null || state === "corrupt" || oieb.oiebSize === 0 ? undefined : oieb;
}

function usedOf(sample: Sample): number | null {
  const oieb = oiebOf(sample);
  return oieb === undefined ? null : oieb.payloadSize - oieb.payloadFreeBytes;
}
