// How metrics are written: as OpenMetrics text, and in the older text format of Prometheus.

import type { MetricFamily } from "../../schemas/metrics.ts";

/** The formats, and what an answer in them is labelled with. */
export const CONTENT_TYPES = {
  openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
  text: "text/plain; version=0.0.4; charset=utf-8",
} as const;
export type Format = keyof typeof CONTENT_TYPES;

/** The versions of a media type that a client may ask for, and the format that it gets. */
const OFFERS: Readonly<Record<string, { readonly versions: readonly string[]; readonly format: Format }>> = {
  "application/openmetrics-text": { versions: ["", "1.0.0"], format: "openMetrics" },
  "text/plain": { versions: ["", "0.0.4"], format: "text" },
};

/**
 * The format for what a client accepts, chosen as Prometheus' own clients do: the one it likes best of those that are there,
 * or the older format.
 */
export function formatFor(accept: string | null): Format {
  const wishes = (accept ?? "").split(",").map((range) => {
    const [type = "", ...parameters] = range.split(";").map((part) => part.trim().toLowerCase());
    const parameter = (name: string) =>
      parameters.find((one) => one.startsWith(`${name}=`))?.slice(name.length + 1);
    return { type, version: parameter("version") ?? "", quality: Number(parameter("q") ?? 1) };
  });
  const best = wishes
    .filter(({ type, version, quality }) => quality > 0 && OFFERS[type]?.versions.includes(version))
    .sort((a, b) => b.quality - a.quality)[0];
  return (best && OFFERS[best.type]?.format) ?? "text";
}

/** The text of the metrics, in lines that each end with a newline. */
export function textOf(families: readonly MetricFamily[], format: Format): string {
  const lines = families.flatMap((family) => [
    ...headOf(family, format),
    ...family.samples.filter(({ name }) => isKnown(name, format)).map(lineOf),
  ]);
  if (format === "openMetrics") lines.push("# EOF");
  return lines.map((line) => `${line}\n`).join("");
}

function headOf({ name, type, unit, help, samples }: MetricFamily, format: Format): string[] {
  if (format === "openMetrics") {
    const units = unit === null ? [] : [`# UNIT ${name} ${unit}`];
    return [`# TYPE ${name} ${type}`, ...units, `# HELP ${name} ${escaped(help)}`];
  }
  // It names the samples, and knows neither units, infos nor sets of states.
  if (samples.length === 0) return [];
  const sampleName = { counter: `${name}_total`, info: `${name}_info`, gauge: name, stateset: name }[type];
  return [
    `# HELP ${sampleName} ${escaped(help)}`,
    `# TYPE ${sampleName} ${type === "counter" ? type : "gauge"}`,
  ];
}

/** The older format has no place for when a counter began. */
function isKnown(name: string, format: Format): boolean {
  return format === "openMetrics" || !name.endsWith("_created");
}

function lineOf({ name, labels, value }: MetricFamily["samples"][number]): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`);
  return `${name}{${pairs.join(",")}} ${value}`;
}

function escaped(text: string): string {
  return text.replace(/[\\"\n]/g, (character) => (character === "\n" ? "\\n" : `\\${character}`));
}
