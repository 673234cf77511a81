// Charts of rates over time, and of how often values come.

import uPlot from "uplot";
import { element, setText } from "./dom.ts";

/** One line of a chart. */
export interface Line {
  readonly name: string;
  /** The name of its colour in the style sheet. */
  readonly colour: string;
  /** How it is dashed, so that it can be told from others without colour. */
  readonly dash?: number[];
}

/** A chart, what it shows in words, and its lines. */
export interface ChartOptions {
  readonly title: string;
  readonly lines: readonly Line[];
  readonly height: number;
  /** Whether the horizontal axis is the time of day, rather than a number. */
  readonly hasTime: boolean;
  /** The text of a value. */
  text(value: number): string;
  /** The end of the vertical axis, if it does not follow the values. */
  readonly most?: number;
  /** Whether values are bytes, whose round numbers are powers of two. */
  readonly isBytes?: boolean;
}

/** The distances of the marks on an axis of bytes. */
const BYTE_STEPS = Array.from({ length: 40 }, (_, power) => 2 ** power);

/** A chart that fills the width of its place. */
export class Chart {
  readonly #figure: HTMLElement;
  readonly #summary = element("span", { class: "summary" });
  readonly #options: ChartOptions;
  readonly #canvas: HTMLElement;
  #plot: uPlot | undefined;
  #data: (number | null)[][] = [];

  constructor(place: HTMLElement, options: ChartOptions) {
    this.#options = options;
    this.#canvas = element("div", { class: "plot", "aria-hidden": "true" });
    const keys = options.lines.map(({ name, colour, dash }) =>
      element("span", { class: `key ${colour}${dash === undefined ? "" : " dashed"}` }, name),
    );
    const caption = element("figcaption", {}, element("span", {}, options.title), this.#summary);
    if (options.lines.length > 1) caption.append(element("span", { class: "keys" }, ...keys));
    this.#figure = element("figure", {}, caption, this.#canvas);
    place.append(this.#figure);
    new ResizeObserver(() => this.#fit()).observe(this.#canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.#plot?.destroy();
      this.#plot = undefined;
      this.#fit();
    });
  }

  /** Shows values: those of the horizontal axis, and those of each line, which may be missing. */
  set(axis: readonly number[], ...lines: (readonly (number | null)[])[]): void {
    this.#data = [[...axis], ...lines.map((line) => axis.map((_, at) => line[at] ?? null))];
    const { text, lines: named, hasTime } = this.#options;
    const newest = named.map((_, at) => lines[at]?.at(-1));
    if (hasTime)
      setText(this.#summary, newest.map((value) => (value == null ? "–" : text(value))).join(" / "));
    if (this.#plot === undefined) this.#fit();
    else this.#plot.setData(this.#data as uPlot.AlignedData);
  }

  #fit(): void {
    const width = this.#canvas.clientWidth;
    if (width === 0 || this.#data.length === 0) return;
    const { height } = this.#options;
    if (this.#plot === undefined) {
      this.#plot = new uPlot(this.#plotOptions(width, height), this.#data as uPlot.AlignedData, this.#canvas);
    } else if (this.#plot.width !== width) this.#plot.setSize({ width, height });
  }

  #plotOptions(width: number, height: number): uPlot.Options {
    const { lines, hasTime, most, text, isBytes } = this.#options;
    const [faint, grid] = [this.#colour("faint"), this.#colour("line")];
    const axis = {
      stroke: faint,
      grid: { stroke: grid, width: 1 },
      ticks: { show: false },
      font: "11px system-ui",
    };
    const values = (_: uPlot, splits: number[]) => splits.map(text);
    return {
      width,
      height,
      padding: [6, 8, 0, hasTime ? 0 : 8],
      legend: { show: false },
      cursor: { show: false },
      scales: {
        x: { time: hasTime },
        y: { range: (_, __, highest) => [0, most ?? (highest > 0 ? highest * 1.1 : 1)] },
      },
      axes: [
        { ...axis, size: 22, space: 60 },
        hasTime
          ? { ...axis, size: 58, values, space: 28, ...(isBytes && { incrs: BYTE_STEPS }) }
          : { ...axis, show: false },
      ],
      series: [
        {},
        ...lines.map(({ colour, dash }) => ({
          stroke: this.#colour(colour),
          width: 1.5,
          fill: `color-mix(in srgb, ${this.#colour(colour)} 14%, transparent)`,
          points: { show: false },
          ...(dash !== undefined && { dash }),
        })),
      ],
    };
  }

  /** A colour of the style sheet as a canvas takes it. */
  #colour(name: string): string {
    const probe = element("span", { class: `key ${name}` });
    this.#figure.append(probe);
    const { color } = getComputedStyle(probe);
    probe.remove();
    return color;
  }
}
