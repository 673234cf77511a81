// All buffers: what top shows, with charts, and one of them in every detail.

import type { InspectDocument } from "../../../schemas/inspect.ts";
import type { TopEntry } from "../../../schemas/top.ts";
import { Histories, type History, KEPT_LOOKS } from "../histories.ts";
import { Chart } from "./charts.ts";
import { byId, element, onPress, setFacts, setText } from "./dom.ts";
import { bytesText, count, rateText, shortBytes, shortText, UNKNOWN } from "./texts.ts";

/** One column of the table. */
interface Column {
  readonly title: string;
  /** How it is shown where there is little room: `wide` ones are not. */
  readonly kind: "text" | "number" | "wide" | "wide number";
  readonly text: (entry: TopEntry) => string;
  /** What it is sorted by; without it, by its text. Unknown figures come last. */
  readonly order?: (entry: TopEntry) => number | null;
}

const COLUMNS: readonly Column[] = [
  { title: "Buffer", kind: "text", text: ({ buffer_name }) => buffer_name },
  { title: "State", kind: "text", text: ({ state }) => state ?? "unreadable" },
  {
    title: "Fill",
    kind: "number",
    text: ({ used_percent }) => (used_percent === null ? UNKNOWN : `${Math.round(used_percent)} %`),
    order: ({ used_percent }) => used_percent,
  },
  {
    title: "Frames/s",
    kind: "number",
    text: ({ frames_per_second }) => rateText(frames_per_second),
    order: ({ frames_per_second }) => frames_per_second,
  },
  {
    title: "MiB/s",
    kind: "wide number",
    text: ({ bytes_per_second }) => rateText(bytes_per_second === null ? null : bytes_per_second / 2 ** 20),
    order: ({ bytes_per_second }) => bytes_per_second,
  },
  {
    title: "Age",
    kind: "wide number",
    text: ({ last_frame_age_seconds: age }) =>
      age === null
        ? UNKNOWN
        : age < 1
          ? "<1 s"
          : age < 60
            ? `${Math.round(age)} s`
            : `${Math.round(age / 60)} min`,
    order: ({ last_frame_age_seconds }) => last_frame_age_seconds,
  },
  { title: "Waits", kind: "wide", text: waitsText },
  { title: "Writer", kind: "wide", text: ({ writer }) => processText(writer) },
  { title: "Reader", kind: "wide", text: ({ reader }) => processText(reader) },
];

const CHARTS = [
  { key: "frames", title: "Frames per second", colour: "accent", text: shortText },
  { key: "bytes", title: "Bytes per second", colour: "second", text: shortBytes, isBytes: true },
  {
    key: "fill",
    title: "Fill",
    colour: "third",
    text: (value: number) => `${Math.round(value)} %`,
    most: 100,
  },
  { key: "size", title: "Frame size", colour: "second", text: shortBytes, isBytes: true },
] as const;

/** A row of the table, made once for each buffer. */
interface Row {
  readonly line: HTMLTableRowElement;
  readonly cells: readonly HTMLElement[];
  readonly bar: HTMLElement;
  readonly spark: SVGPolylineElement;
}

/** The size of the picture of the last five minutes in a row, in its own units. */
const SPARK = { width: KEPT_LOOKS, height: 24 };

/** Shows all buffers. */
export class Buffers {
  readonly #details: (name: string) => Promise<InspectDocument | undefined>;
  readonly #rows = new Map<string, Row>();
  readonly #totals = CHARTS.slice(0, 2).map((chart) => chartOf("total-charts", chart));
  readonly #detailCharts = CHARTS.map((chart) => chartOf("details-charts", chart));
  #histories = new Histories();
  #entries: readonly TopEntry[] = [];
  #sort = 0;
  #isReversed = false;
  #inspected = "";

  /** @param details asks for the details of a buffer. */
  constructor(details: (name: string) => Promise<InspectDocument | undefined>) {
    this.#details = details;
    byId("filter").addEventListener("input", () => this.#arrange());
    onPress("close-details", () => byId<HTMLDialogElement>("details").close());
    const head = byId("table").querySelector("thead tr");
    for (const [at, { title, kind }] of COLUMNS.entries()) {
      const button = element("button", { type: "button" }, title);
      button.addEventListener("click", () => this.#sortBy(at));
      head?.append(element("th", { scope: "col", class: kind }, button));
    }
    head?.append(element("th", { scope: "col", class: "wide" }, "Last five minutes"));
    this.#showSort();
  }

  get histories(): Histories {
    return this.#histories;
  }

  /** Everything until now. */
  setHistory(times: readonly number[], buffers: Readonly<Record<string, History>>): void {
    this.#histories = new Histories(times, buffers);
  }

  /** What was seen at a time, in milliseconds since 1970. The same look as the last one adds nothing. */
  update(atMs: number, entries: readonly TopEntry[]): void {
    this.#entries = entries;
    if (atMs > (this.#histories.times.at(-1) ?? 0)) this.#histories.note(atMs, entries);
    this.#show();
  }

  /** The page shows this view now. */
  show(): void {
    this.#show();
  }

  #show(): void {
    const entries = this.#entries;
    const states = Map.groupBy(entries, ({ state }) => state ?? "unreadable");
    const parts = [...states].map(([state, members]) => `${members.length} ${state}`).sort();
    setText(
      byId("total"),
      entries.length === 0 ? "No buffers" : `${count(entries.length, "buffers")}: ${parts.join(", ")}`,
    );
    if (byId("buffers").hidden) return;
    const axis = this.#histories.times.map((ms) => ms / 1000);
    for (const [at, chart] of this.#totals.entries()) chart.set(axis, this.#totalOf(CHARTS[at]!.key));
    for (const entry of entries) this.#showRow(entry);
    for (const name of this.#rows.keys()) if (!this.#histories.all.has(name)) this.#rows.delete(name);
    this.#arrange();
    if (byId<HTMLDialogElement>("details").open) void this.#showDetails();
  }

  /** The sum over all buffers, at each time. */
  #totalOf(key: keyof History): (number | null)[] {
    const histories = [...this.#histories.all.values()];
    return this.#histories.times.map((_, at) => {
      const known = histories.flatMap((history) => history[key][at] ?? []);
      return known.length === 0 && histories.length > 0 ? null : known.reduce((sum, value) => sum + value, 0);
    });
  }

  #showRow(entry: TopEntry): void {
    const row = this.#rows.get(entry.buffer_name) ?? this.#makeRow(entry.buffer_name);
    this.#rows.set(entry.buffer_name, row);
    for (const [at, { text }] of COLUMNS.entries()) setText(row.cells[at]!, text(entry));
    row.cells[1]!.dataset.state = entry.state ?? "unreadable";
    row.bar.style.setProperty("--fill", `${entry.used_percent ?? 0}%`);
    row.bar.dataset.level =
      (entry.used_percent ?? 0) > 95 ? "critical" : (entry.used_percent ?? 0) >= 80 ? "degraded" : "";
    row.spark.setAttribute("points", sparkOf(this.#histories.all.get(entry.buffer_name)?.frames ?? []));
  }

  #makeRow(name: string): Row {
    const button = element("button", { type: "button", class: "link" });
    button.addEventListener("click", () => this.inspect(name));
    const bar = element("span", { class: "bar-of-fill", "aria-hidden": "true" });
    const texts = COLUMNS.map((_, at) =>
      at === 0 ? button : element("span", at === 1 ? { class: "state" } : {}),
    );
    const line = element("tr");
    for (const [at, { kind }] of COLUMNS.entries()) {
      const cell = at === 0 ? element("th", { scope: "row", class: kind }) : element("td", { class: kind });
      cell.append(texts[at]!);
      if (COLUMNS[at]?.title === "Fill") cell.append(bar);
      line.append(cell);
    }
    const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    picture.setAttribute("viewBox", `0 0 ${SPARK.width} ${SPARK.height}`);
    picture.setAttribute("preserveAspectRatio", "none");
    picture.setAttribute("aria-hidden", "true");
    const spark = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    picture.append(spark);
    const cell = element("td", { class: "wide spark" });
    cell.append(picture);
    line.append(cell);
    return { line, cells: texts, bar, spark };
  }

  #sortBy(column: number): void {
    this.#isReversed = column === this.#sort && !this.#isReversed;
    this.#sort = column;
    this.#showSort();
    this.#arrange();
  }

  #showSort(): void {
    for (const [at, head] of [...byId("table").querySelectorAll("thead th")].entries()) {
      if (at !== this.#sort) head.removeAttribute("aria-sort");
      else head.setAttribute("aria-sort", this.#isAscending ? "ascending" : "descending");
    }
  }

  /** Figures begin with the highest. */
  get #isAscending(): boolean {
    return (COLUMNS[this.#sort]?.order === undefined) !== this.#isReversed;
  }

  /** Puts those that the filter lets pass in their order. Rows that are where they belong are left alone. */
  #arrange(): void {
    const wanted = byId<HTMLInputElement>("filter").value.toLowerCase();
    const { text, order } = COLUMNS[this.#sort]!;
    const direction = this.#isAscending ? 1 : -1;
    const compare = (a: TopEntry, b: TopEntry): number => {
      if (order === undefined) return direction * text(a).localeCompare(text(b));
      const [first, second] = [order(a), order(b)];
      if (first === null || second === null) return Number(first === null) - Number(second === null);
      return direction * (first - second);
    };
    const shown = this.#entries
      .filter((entry) => COLUMNS.some(({ text }) => text(entry).toLowerCase().includes(wanted)))
      .sort((a, b) => compare(a, b) || a.buffer_name.localeCompare(b.buffer_name));
    const lines = shown.flatMap(({ buffer_name }) => this.#rows.get(buffer_name)?.line ?? []);
    const body = byId("table").querySelector("tbody");
    const isInPlace =
      body?.children.length === lines.length && lines.every((line, at) => body.children[at] === line);
    if (!isInPlace) body?.replaceChildren(...lines);
    const none = byId("none");
    none.hidden = lines.length > 0;
    setText(
      none,
      this.#entries.length === 0 ? "There is no buffer on this machine." : "No buffer matches the filter.",
    );
  }

  /** Shows a buffer in every detail. */
  inspect(name: string): void {
    this.#inspected = name;
    setText(byId("details-name"), name);
    byId("details-facts").replaceChildren();
    byId<HTMLDialogElement>("details").showModal();
    void this.#showDetails();
  }

  async #showDetails(): Promise<void> {
    const name = this.#inspected;
    const { times, all } = this.#histories;
    const [axis, history] = [times.map((ms) => ms / 1000), all.get(name)];
    for (const [at, chart] of this.#detailCharts.entries()) chart.set(axis, history?.[CHARTS[at]!.key] ?? []);
    const found = await this.#details(name).catch(() => undefined);
    if (name !== this.#inspected) return;
    setText(byId("details-gone"), found === undefined ? "This buffer is gone." : "");
    if (found !== undefined) setFacts(byId("details-facts"), factsOf(found));
  }
}

function chartOf(place: string, { title, colour, text, ...rest }: (typeof CHARTS)[number]): Chart {
  return new Chart(byId(place), {
    title,
    height: 110,
    hasTime: true,
    text,
    lines: [{ name: title, colour }],
    ...rest,
  });
}

/** Rates as the points of a line. */
function sparkOf(rates: readonly (number | null)[]): string {
  const highest = Math.max(1, ...rates.map((rate) => rate ?? 0));
  const start = SPARK.width - rates.length;
  return rates
    .flatMap((rate, at) =>
      rate === null
        ? []
        : `${start + at},${(SPARK.height - 1 - (rate / highest) * (SPARK.height - 2)).toFixed(1)}`,
    )
    .join(" ");
}

function waitsText({ waits }: TopEntry): string {
  const who = (["writer", "reader"] as const).filter((role) => waits[role]);
  return who.length === 0 ? UNKNOWN : who.join(", ");
}

function processText(process: TopEntry["writer"]): string {
  if (process === null) return UNKNOWN;
  const { pid, command, alive } = process;
  return alive ? `${pid}${command === null ? "" : ` ${command}`}` : `${pid} dead`;
}

function factsOf(details: InspectDocument): [string, string][] {
  const { state, health, fault, size_bytes, used_bytes, used_percent, payload_size, oieb, metadata } =
    details;
  const number = (value: number | null) => (value === null ? UNKNOWN : value.toLocaleString("en-US"));
  const facts: [string, string][] = [
    ["State", [state ?? "unreadable", health, fault].filter((part) => part !== null).join(", ")],
    ["Memory", size_bytes === null ? UNKNOWN : bytesText(size_bytes)],
    [
      "Used",
      used_bytes === null || payload_size === null
        ? UNKNOWN
        : `${bytesText(used_bytes)} of ${bytesText(payload_size)} (${used_percent} %)`,
    ],
    ["Written", number(details.frames_written)],
    ["Read", number(details.frames_read)],
    ["Writer", processText(details.writer)],
    ["Reader", processText(details.reader)],
    [
      "Semaphores",
      `written ${number(details.semaphores.written)}, released ${number(details.semaphores.released)}`,
    ],
  ];
  if (oieb !== null) {
    facts.push(
      ["Positions", `write ${number(oieb.payload_write_pos)}, read ${number(oieb.payload_read_pos)}`],
      ["Protocol", `${oieb.version}, flags ${oieb.flags}`],
    );
  }
  if (metadata !== null) {
    const { preview, size_bytes: size, truncated } = metadata;
    facts.push(["Metadata", `${count(size, "bytes")}: ${preview}${truncated ? " …" : ""}`]);
  }
  for (const { path, mode, owner, group } of details.files) {
    facts.push(["File", `${mode} ${owner ?? ""}${group === null ? "" : `:${group}`} ${path}`]);
  }
  return facts;
}
