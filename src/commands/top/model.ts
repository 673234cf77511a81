// What the screen of top shows: which buffers, in which order, which one is selected, and what the keys do to that.

import type { Key } from "../../cli/full-screen.ts";
import type { Sample } from "../../cli/sampling.ts";
import type { InspectDocument } from "../../schemas/inspect.ts";
import type { TopEntry } from "../../schemas/top.ts";
import { blankDetails, look } from "../inspect/details.ts";
import { topEntryOf } from "./entry.ts";
import { History } from "./history.ts";

/** What the buffers can be sorted by, in the order of the key `s`. */
export const SORTS = ["name", "state", "fill", "frames", "bytes", "age"] as const;
export type Sort = (typeof SORTS)[number];

/** A buffer as top shows it. */
export interface Row extends TopEntry {
  /** How long ago the last new frame was noticed; without one since the first look, how long ago that was. */
  readonly quietSeconds: number;
  readonly history: History;
}

/** States in the order in which they are looked for. */
const STATES = ["corrupt", "stale", "orphan", "live", "idle"];

/** What comes first; of two that are equal the name decides. Figures that are unknown come last. */
const ORDERS: Readonly<Record<Sort, (row: Row) => number>> = {
  name: () => 0,
  state: ({ state }) => STATES.indexOf(state ?? "corrupt"),
  fill: ({ used_percent }) => -(used_percent ?? -1),
  frames: ({ frames_per_second }) => -(frames_per_second ?? -1),
  bytes: ({ bytes_per_second }) => -(bytes_per_second ?? -1),
  age: ({ last_frame_age_seconds }) => last_frame_age_seconds ?? Number.POSITIVE_INFINITY,
};

/** The state of the screen. */
export class Model {
  /** What is shown: all buffers, one of them in every detail, or the keys. */
  view: "list" | "inspect" | "help" = "list";
  sort: Sort = "name";
  isReversed = false;
  filter = "";
  /** Whether what is typed changes the filter. */
  isTyping = false;
  /** The first row that is shown. */
  offset = 0;
  /** What inspect shows; undefined if the buffer is gone. */
  details: InspectDocument | undefined;
  #rows: readonly Row[] = [];
  #shown: readonly Row[] = [];
  #selected: string | undefined;
  /** Where the selected row is, or was when its buffer went. */
  #index = 0;
  #histories = new Map<string, History>();

  /** Takes what was seen at this time of `performance.now()`. */
  update(samples: readonly Sample[], now: number): void {
    const histories = new Map<string, History>();
    this.#rows = samples.map((sample) => {
      const entry = topEntryOf(sample);
      const history = this.#histories.get(entry.buffer_name) ?? new History();
      history.note(sample.framesPerSecond, now);
      histories.set(entry.buffer_name, history);
      return { ...entry, quietSeconds: sample.quietSeconds, history };
    });
    this.#histories = histories;
    this.#arrange();
    if (this.view === "inspect") this.#inspect();
  }

  /** Every buffer. */
  get rows(): readonly Row[] {
    return this.#rows;
  }

  /** Those that the filter lets pass, in their order. */
  get shown(): readonly Row[] {
    return this.#shown;
  }

  /** The index of the selected buffer among {@link shown}. */
  get index(): number {
    return this.#index;
  }

  get selected(): Row | undefined {
    return this.#shown[this.#index];
  }

  /** The name of the buffer that is inspected. */
  get inspected(): string {
    return this.#selected ?? "";
  }

  /** Scrolls as little as possible, so that the selected row is among those that there is room for. */
  scroll(room: number): void {
    const last = Math.max(0, this.#shown.length - room);
    const least = Math.max(0, this.#index - room + 1);
    this.offset = Math.min(Math.max(this.offset, least), this.#index, last);
  }

  /**
   * Does what a key means.
   *
   * @param page how many rows a page has.
   * @returns whether the command ends.
   */
  press(key: Key, page: number): boolean {
    if (this.isTyping) this.#type(key);
    else if (key.text === "q") return true;
    else if (this.view !== "list") this.#leaveView(key);
    else this.#command(key, page);
    return false;
  }

  #type({ name, text }: Key): void {
    if (name === "return" || name === "enter") this.isTyping = false;
    else if (name === "escape") this.#setFilter("", false);
    else if (name === "backspace") this.#setFilter([...this.filter].slice(0, -1).join(""), true);
    else if (name === "up" || name === "down") this.#move(name === "up" ? -1 : 1);
    else this.#setFilter(this.filter + text, true);
  }

  #setFilter(filter: string, isTyping: boolean): void {
    this.filter = filter;
    this.isTyping = isTyping;
    this.#arrange();
  }

  #leaveView({ name }: Key): void {
    const leaves = this.view === "help" || ["escape", "backspace", "return", "enter", "left"].includes(name);
    if (leaves) this.view = "list";
  }

  #command({ name, text }: Key, page: number): void {
    const action = ACTIONS[text] ?? ACTIONS[name];
    action?.(this, page, (by) => this.#move(by));
    if (name === "escape" && this.filter !== "") this.#setFilter("", false);
    this.#arrange();
    if (this.view === "inspect") this.#inspect();
  }

  #move(by: number): void {
    this.#index = Math.max(0, Math.min(this.#shown.length - 1, this.#index + by));
    this.#selected = this.selected?.buffer_name;
  }

  /** The selection stays with its buffer; if that is gone, with its place. */
  #arrange(): void {
    const wanted = this.filter.toLowerCase();
    const order = ORDERS[this.sort];
    const direction = this.isReversed ? -1 : 1;
    this.#shown = this.#rows
      .filter((row) => textsOf(row).some((text) => text.toLowerCase().includes(wanted)))
      .sort((a, b) => direction * (compare(order(a), order(b)) || compare(a.buffer_name, b.buffer_name)));
    const at = this.#shown.findIndex(({ buffer_name }) => buffer_name === this.#selected);
    if (at !== -1) this.#index = at;
    else if (this.view !== "inspect") this.#move(0);
  }

  #inspect(): void {
    const before = this.details;
    const details = blankDetails(this.inspected);
    this.details = look(this.inspected, details, null) ? details : undefined;
    const row = this.#rows.find(({ buffer_name }) => buffer_name === this.inspected);
    if (this.details !== undefined) {
      this.details.frames_per_second = row?.frames_per_second ?? before?.frames_per_second ?? null;
    }
  }
}

/** The keys of the list, by the character or by the name. */
const ACTIONS: Readonly<Record<string, (model: Model, page: number, move: (by: number) => void) => void>> = {
  up: (_, __, move) => move(-1),
  k: (_, __, move) => move(-1),
  down: (_, __, move) => move(1),
  j: (_, __, move) => move(1),
  pageup: (_, page, move) => move(-page),
  pagedown: (_, page, move) => move(page),
  home: (_, __, move) => move(Number.NEGATIVE_INFINITY),
  end: (_, __, move) => move(Number.POSITIVE_INFINITY),
  s: (model) => turnSort(model, 1),
  S: (model) => turnSort(model, -1),
  r: (model) => {
    model.isReversed = !model.isReversed;
  },
  "/": (model) => {
    model.isTyping = true;
  },
  "?": (model) => {
    model.view = "help";
  },
  return: inspectSelected,
  enter: inspectSelected,
};

function turnSort(model: Model, by: number): void {
  const at = SORTS.indexOf(model.sort) + by;
  model.sort = SORTS.at(at % SORTS.length) ?? "name";
}

function inspectSelected(model: Model): void {
  if (model.selected !== undefined) model.view = "inspect";
}

/** What a filter looks into. */
function textsOf({ buffer_name, state, writer, reader }: Row): string[] {
  const processes = [writer, reader].map((process) => `${process?.pid ?? ""} ${process?.command ?? ""}`);
  return [buffer_name, state ?? "", ...processes];
}

function compare<T extends number | string>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
