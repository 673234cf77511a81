// The rules of OpenMetrics 1.0 that a text of counters, gauges, infos and sets of states has to follow.

/** What ends the names of the samples of each type. */
const SUFFIXES: Readonly<Record<string, readonly string[]>> = {
  counter: ["_total", "_created"],
  gauge: [""],
  info: ["_info"],
  stateset: [""],
};

const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\\n]|\\["\\n])*)"/y;

/** A sample as it is written. */
export interface ReadSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Everything in a text that breaks a rule, as one sentence each. */
export function faultsOfOpenMetrics(text: string): string[] {
  const faults: string[] = [];
  if (!text.endsWith("\n# EOF\n")) faults.push("does not end with # EOF and a newline");
  const lines = text.split("\n").slice(0, -2);
  const families = new Map<string, { type?: string; unit?: string; help?: string }>();
  const seen = new Set<string>();
  let family = "";
  let series = "";
  const closed = new Set<string>();
  for (const line of lines) {
    const [, key, name = "", rest = ""] = /^# (TYPE|UNIT|HELP) (\S+) (.*)$/.exec(line) ?? [];
    if (key !== undefined) {
      if (name !== family && families.has(name)) faults.push(`${name} is in two places`);
      family = name;
      const known = families.get(name) ?? {};
      if (seen.has(name)) faults.push(`${line}: after samples of its family`);
      if (key.toLowerCase() in known) faults.push(`${line}: a second time`);
      families.set(name, { ...known, [key.toLowerCase()]: rest });
      if (key === "TYPE" && SUFFIXES[rest] === undefined) faults.push(`${line}: unknown type`);
      if (key === "UNIT" && !name.endsWith(`_${rest}`))
        faults.push(`${line}: the name does not end with the unit`);
      if (key === "HELP" && !/^(?:[^"\\]|\\["\\n])*$/.test(rest)) faults.push(`${line}: not escaped`);
      continue;
    }
    const sample = readSample(line);
    if (sample === undefined) {
      faults.push(`${line}: no sample`);
      continue;
    }
    const { type = "", unit } = families.get(family) ?? {};
    const suffix = (SUFFIXES[type] ?? []).find((one) => sample.name === `${family}${one}`);
    if (suffix === undefined) faults.push(`${line}: not of ${type} ${family}`);
    if (unit !== undefined && (type === "info" || type === "stateset"))
      faults.push(`${line}: ${type} with a unit`);
    if (suffix === "_total" && sample.value < 0) faults.push(`${line}: a counter below 0`);
    if (type === "info" && sample.value !== 1) faults.push(`${line}: an info that is not 1`);
    if (type === "stateset" && (!(family in sample.labels) || ![0, 1].includes(sample.value)))
      faults.push(`${line}: no state`);
    const identity = `${sample.name}${JSON.stringify(Object.entries(sample.labels).sort())}`;
    if (seen.has(identity)) faults.push(`${line}: a second time`);
    seen.add(identity).add(family);
    const { [family]: _, ...own } = sample.labels;
    const metric = `${family}${JSON.stringify(Object.entries(own).sort())}`;
    if (metric !== series && closed.has(metric)) faults.push(`${line}: its metric is in two places`);
    closed.add(metric);
    series = metric;
  }
  for (const [name, { type, help }] of families) {
    if (type === undefined || help === undefined) faults.push(`${name} has no type or no help`);
  }
  return faults;
}

/** The samples of a text, in either format. */
export function samplesOf(text: string): ReadSample[] {
  return text
    .split("\n")
    .flatMap((line) => (line === "" || line.startsWith("#") ? [] : (readSample(line) ?? [])));
}

function readSample(line: string): ReadSample | undefined {
  const [, name, pairs, value] =
    /^([a-zA-Z_:][\w:]*)\{(.*)\} (-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/.exec(line) ?? [];
  if (name === undefined || pairs === undefined) return undefined;
  const labels: Record<string, string> = {};
  for (let at = 0; at < pairs.length; at++) {
    LABEL.lastIndex = at;
    const match = LABEL.exec(pairs);
    const [all, label = "", text = ""] = match ?? [];
    if (all === undefined || label in labels) return undefined;
    labels[label] = text.replace(/\\(.)/g, (_, character) => (character === "n" ? "\n" : character));
    at += all.length;
    if (at < pairs.length && pairs[at] !== ",") return undefined;
  }
  return { name, labels, value: Number(value) };
}
