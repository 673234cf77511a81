// The picture: the newest frame, and everything about it.

import { colourOf, conversionOf, layoutOf, type PixelLayout, samplesAt } from "../../../frames/pixels.ts";
import type { History } from "../histories.ts";
import type { FrameHead, WriterState } from "../protocol.ts";
import { Chart } from "./charts.ts";
import type { Connection } from "./connection.ts";
import { byId, element, onPress, setFacts, setText } from "./dom.ts";
import { Dump, sizeText } from "./dump.ts";
import { histogramOf } from "./histogram.ts";
import { decode, painters } from "./painter.ts";
import { Stage } from "./stage.ts";
import { grouped, millisecondsText, rateText, shortBytes, shortText, UNKNOWN } from "./texts.ts";

/** How often the figures and the histogram are shown, in milliseconds. */
const FIGURES_MS = 500;

/** The least time between two frame numbers, in milliseconds. */
const FACTS_MS = 100;

/** An age is one if it lies between these, in milliseconds: other stamps have a clock of their own. */
const [LEAST_AGE_MS, MOST_AGE_MS] = [-1000, 3_600_000];

/** A frame as it came. */
interface Arrived {
  readonly head: FrameHead;
  readonly data: Uint8Array<ArrayBuffer>;
}

/** Pixels that can be looked at one by one. */
interface Pixels {
  readonly layout: PixelLayout;
  readonly data: Uint8Array<ArrayBuffer>;
  readonly colour: Parameters<typeof conversionOf>[1];
}

const WRITERS: Readonly<Record<WriterState, string>> = {
  awaited: "waits for a writer",
  connected: "writer connected",
  left: "writer has left",
  died: "writer has died",
};

/** Shows the frames of a buffer. */
export class Picture {
  readonly #connection: Connection;
  readonly #painters = painters();
  readonly #stage = new Stage(() => this.#showPixel());
  readonly #dump = new Dump();
  readonly #charts = {
    frames: new Chart(byId("picture-charts"), {
      ...{ title: "Frames per second", height: 96, hasTime: true, text: shortText },
      lines: [{ name: "frames/s", colour: "accent" }],
    }),
    size: new Chart(byId("picture-charts"), {
      ...{ title: "Frame size", height: 96, hasTime: true, text: shortBytes, isBytes: true },
      lines: [{ name: "size", colour: "second" }],
    }),
  };
  #histogram: Chart | undefined;
  #histogramLines = 0;
  #buffer = "";
  #isPaused = false;
  /** Whether the server has been asked for a frame. */
  #isAsked = false;
  #arrived: Arrived | undefined;
  #shown: Arrived | undefined;
  #pixels: Pixels | undefined;
  #ages: number[] = [];
  /** Frames shown, and frames that have come, since the figures were shown. */
  #drawn = 0;
  #known = { arrived: 0, atMs: 0 };
  #countedAt = performance.now();
  #counted = { arrived: 0, atMs: 0 };
  #factsAt = 0;
  #rates: { shown: number; skipped: number } | undefined;

  constructor(connection: Connection) {
    this.#connection = connection;
    onPress("pause", () => this.togglePause());
    onPress("step", () => this.step());
    onPress("save", () => this.save());
    onPress("zoom-in", () => this.#stage.zoomBy(1));
    onPress("zoom-out", () => this.#stage.zoomBy(-1));
    onPress("zoom-fit", () => this.#stage.zoomTo(undefined));
    onPress("zoom-one", () => this.#stage.zoomTo(1));
    setInterval(() => this.#showFigures(), FIGURES_MS);
    this.#showEmpty();
  }

  /** The keys of the picture, by what they do. */
  readonly keys: Readonly<Record<string, () => void>> = {
    " ": () => this.togglePause(),
    ".": () => this.step(),
    s: () => this.save(),
    "+": () => this.#stage.zoomBy(1),
    "=": () => this.#stage.zoomBy(1),
    "-": () => this.#stage.zoomBy(-1),
    "0": () => this.#stage.zoomTo(undefined),
    "1": () => this.#stage.zoomTo(1),
  };

  /** The server is there: it sends a frame when it is asked. */
  begin(buffer: string): void {
    this.#buffer = buffer;
    setText(byId("buffer-name"), buffer);
    this.#isAsked = false;
    // Its frames may be those of another server, which counts anew.
    this.#known = { arrived: 0, atMs: 0 };
    this.#counted = this.#known;
    if (!this.#isPaused) this.#ask(true);
    this.#showEmpty();
  }

  setWriter(state: WriterState): void {
    const place = byId("writer");
    setText(place, WRITERS[state]);
    place.dataset.state = state;
    this.#showEmpty();
  }

  /** How many frames have come so far, at a time of the server's clock. */
  setArrived(arrived: number, atMs: number): void {
    if (atMs <= this.#known.atMs) return;
    this.#known = { arrived, atMs };
    if (this.#counted.atMs === 0) this.#counted = this.#known;
  }

  setHistory(times: readonly number[], history: History | undefined): void {
    const axis = times.map((ms) => ms / 1000);
    this.#charts.frames.set(axis, history?.frames ?? []);
    this.#charts.size.set(axis, history?.size ?? []);
  }

  /** A frame has come. It is drawn with the next picture of the screen: a page that nobody sees asks for no other. */
  take(head: FrameHead, data: Uint8Array<ArrayBuffer>): void {
    this.#isAsked = false;
    this.setArrived(head.arrived, head.atMs);
    this.#arrived = { head, data };
    requestAnimationFrame(() => void this.#draw());
  }

  /** A frame that is on its way is still shown. */
  togglePause(): void {
    this.#isPaused = !this.#isPaused;
    const button = byId("pause");
    button.toggleAttribute("data-on", this.#isPaused);
    setText(button, this.#isPaused ? "Play" : "Pause");
    this.#ask(!this.#isPaused);
  }

  /** Shows the newest frame, or the next one if that is shown already, and stops there. */
  step(): void {
    if (!this.#isPaused) this.togglePause();
    this.#ask(true);
  }

  /** Saves what is shown. */
  save(): void {
    const canvas = byId("paper").querySelector("canvas");
    const sequence = this.#shown?.head.sequence;
    canvas?.toBlob((blob) => {
      if (blob === null) return;
      const address = URL.createObjectURL(blob);
      element("a", { href: address, download: `${this.#buffer}-${sequence}.png` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
    }, "image/png");
  }

  /** Asks for a frame, or takes that back. */
  #ask(isReady: boolean): void {
    if (this.#isAsked === isReady) return;
    this.#isAsked = isReady;
    this.#connection.ask(isReady);
  }

  async #draw(): Promise<void> {
    const arrived = this.#arrived;
    if (arrived === undefined) return;
    this.#arrived = undefined;
    const { sight } = arrived.head;
    const isEncoded = sight.kind === "jpeg" || sight.kind === "png";
    // The next one may come while this one is drawn, but not while it is decoded: they would change places.
    if (!isEncoded && !this.#isPaused) this.#ask(true);
    if (sight.kind === "bytes") {
      this.#showBytes(arrived, sight.reason);
      return;
    }
    const pixels = await pixelsOf(sight, arrived.data).catch(() => undefined);
    if (pixels === undefined) this.#showBytes(arrived, "It cannot be decoded.");
    else this.#paint(arrived, pixels);
    if (!this.#isPaused) this.#ask(true);
  }

  #paint(arrived: Arrived, pixels: Pixels): void {
    const { layout, data, colour } = pixels;
    const painter = this.#painters.find((one) => one.draw(layout, data, colour));
    if (painter === undefined) {
      const reason = `This browser cannot draw a picture of ${layout.width} x ${layout.height}.`;
      this.#showBytes(arrived, reason);
      return;
    }
    this.#dump.hide();
    byId("stage").hidden = false;
    this.#stage.show(painter.canvas, layout.width, layout.height);
    this.#pixels = pixels;
    this.#note(arrived);
    this.#showPixel();
  }

  #showBytes(arrived: Arrived, reason: string): void {
    const { head, data } = arrived;
    byId("stage").hidden = true;
    this.#stage.clear();
    this.#pixels = undefined;
    this.#dump.show(data, reason, head.skipped, head.size);
    this.#note(arrived);
    this.#showPixel();
  }

  #note(arrived: Arrived): void {
    const isFirst = this.#shown === undefined;
    this.#shown = arrived;
    this.#drawn++;
    const { stampMs } = arrived.head;
    const ageMs = stampMs === null ? Number.NaN : this.#connection.serverMs - stampMs;
    if (ageMs >= LEAST_AGE_MS && ageMs <= MOST_AGE_MS) this.#ages.push(Math.max(0, ageMs));
    this.#showEmpty();
    if (isFirst) this.#showHistogram();
    // More often than it can be read it would only cost time.
    if (isFirst || this.#isPaused || performance.now() - this.#factsAt > FACTS_MS) this.#showFrame();
  }

  #showEmpty(): void {
    const place = byId("empty");
    place.hidden = this.#shown !== undefined;
    setText(place, byId("writer").dataset.state === "connected" ? "No frame yet" : "Waiting for a writer");
    byId<HTMLButtonElement>("save").disabled = this.#pixels === undefined;
  }

  #showFrame(): void {
    const head = this.#shown?.head;
    if (head === undefined) return;
    this.#factsAt = performance.now();
    const { sight, size, skipped, sequence, stampNumber, stampMs } = head;
    const { layout } = this.#pixels ?? {};
    const name = sight.kind === "raw" ? sight.format : sight.kind.toUpperCase();
    const isYuv = sight.kind === "raw" && layout?.model === "yuv";
    const facts: [string, string][] = [
      ["Frame", grouped(sequence)],
      ["Size", layout === undefined ? UNKNOWN : `${layout.width} × ${layout.height}`],
      [
        "Format",
        isYuv && sight.kind === "raw"
          ? `${name}, ${sight.colour}`
          : name.toLowerCase() === "bytes"
            ? "bytes"
            : name,
      ],
      ["Bytes", sizeText(size, skipped)],
      ["Age", this.#ageText(stampMs)],
      ["Shown", this.#rates === undefined ? UNKNOWN : `${rateText(this.#rates.shown)} per second`],
      ["Skipped", this.#rates === undefined ? UNKNOWN : `${rateText(this.#rates.skipped)} per second`],
    ];
    if (stampNumber !== null) facts.splice(1, 0, ["In its stamp", grouped(stampNumber)]);
    setFacts(byId("facts"), facts);
  }

  #ageText(stampMs: number | null): string {
    if (stampMs === null) return `${UNKNOWN} (needs --stamp)`;
    const sorted = [...this.#ages].sort((a, b) => a - b);
    const median = sorted[sorted.length >> 1];
    return median === undefined ? this.#lastAge : millisecondsText(median);
  }

  #lastAge = UNKNOWN;

  /** Rates, age and histogram, a few times a second. */
  #showFigures(): void {
    const now = performance.now();
    const seconds = (now - this.#countedAt) / 1000;
    if (seconds >= 0.9) {
      const came = this.#known.arrived - this.#counted.arrived;
      const passed = (this.#known.atMs - this.#counted.atMs) / 1000;
      const shown = this.#drawn / seconds;
      this.#rates = { shown, skipped: passed > 0 ? Math.max(0, came / passed - shown) : 0 };
      [this.#drawn, this.#counted, this.#countedAt] = [0, this.#known, now];
      this.#lastAge = this.#shown === undefined ? UNKNOWN : this.#ageText(this.#shown.head.stampMs);
      this.#ages = [];
    }
    this.#showFrame();
    this.#showHistogram();
  }

  #showHistogram(): void {
    const pixels = this.#pixels;
    byId("histogram-card").hidden = pixels === undefined;
    byId("pixel-card").hidden = pixels === undefined;
    if (pixels === undefined) return;
    const lines = histogramOf(pixels.layout, pixels.data, pixels.colour);
    if (this.#histogram === undefined || this.#histogramLines !== lines.length) {
      byId("histogram").replaceChildren();
      this.#histogramLines = lines.length;
      this.#histogram = new Chart(byId("histogram"), {
        ...{ title: "Pixels (square root)", height: 110, hasTime: false, text: shortText },
        lines:
          lines.length === 1
            ? [{ name: "gray", colour: "faint" }]
            : [
                { name: "red", colour: "red" },
                { name: "green", colour: "green", dash: [6, 3] },
                { name: "blue", colour: "blue", dash: [2, 2] },
              ],
      });
    }
    this.#histogram.set(
      Array.from({ length: 256 }, (_, value) => value),
      // So that rare values are seen beside frequent ones.
      ...lines.map((line) => line.map(Math.sqrt)),
    );
  }

  #showPixel(): void {
    const [place, pixels] = [this.#stage.place, this.#pixels];
    const text = byId("pixel-text");
    if (place === undefined || pixels === undefined) {
      setText(text, "Point at the picture.");
      return;
    }
    const { layout, data, colour } = pixels;
    const samples = samplesAt(layout, data, place.x, place.y);
    const rgb = colourOf(
      conversionOf(layout, colour),
      layout.model === "gray" ? samples.slice(0, 1) : samples,
    );
    const named = layout.samples.map(({ name }, at) => `${name} ${samples[at]}`).join("  ");
    const hex = rgb.map((value) => value.toString(16).padStart(2, "0")).join("");
    setText(text, `(${place.x}, ${place.y})  ${named}  #${hex}`);
    text.style.setProperty("--pixel", `#${hex}`);
  }
}

/** The pixels of a frame. Rejects if it cannot be decoded. */
async function pixelsOf(
  sight: Exclude<FrameHead["sight"], { kind: "bytes" }>,
  data: Uint8Array<ArrayBuffer>,
): Promise<Pixels> {
  if (sight.kind === "raw") {
    const layout = layoutOf(sight.format, sight.width, sight.height);
    if (layout === undefined) throw new Error(`no layout of ${sight.format}`);
    return { layout, data, colour: sight.colour };
  }
  const { width, height, pixels } = await decode(data, `image/${sight.kind}`);
  return { layout: layoutOf("RGBA", width, height)!, data: pixels, colour: "bt601" };
}
