// zerobuffer view, and its page in a browser, for tests.

import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { Writer } from "../../src/core/index.ts";
import { WAIT_LIMIT_MS } from "./buffers.ts";
import type { Pixels } from "./pictures.ts";
import { Child, type ChildOptions } from "./process.ts";

/** A running `zerobuffer view`. */
export class View implements AsyncDisposable {
  readonly child: Child;
  /** The first address that it has printed, with the token. */
  readonly address: string;

  private constructor(child: Child, address: string) {
    this.child = child;
    this.address = address;
  }

  static async start(args: readonly string[], options: ChildOptions = {}): Promise<View> {
    const child = Child.cli(["view", "--no-open", ...args], options);
    await child.printed(/Listening on \S+\n/);
    return new View(child, /Listening on (\S+)/.exec(child.output.toString())?.[1] ?? "");
  }

  get origin(): string {
    return new URL(this.address).origin;
  }

  get port(): string {
    return new URL(this.address).port;
  }

  get token(): string {
    return new URL(this.address).hash.slice(1);
  }

  /** Ends it by SIGINT. */
  async end(): Promise<void> {
    this.child.kill("SIGINT");
    await this.child.exited();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A killed reader would leave its buffer.
    if (!this.child.isOver) await this.end();
    await this.child[Symbol.asyncDispose]();
  }
}

/** The page of a view, in a context of its own. */
export class ViewPage implements AsyncDisposable {
  readonly page: Page;
  /** What the page has complained about. */
  readonly complaints: string[] = [];

  private constructor(page: Page) {
    this.page = page;
    page.setDefaultTimeout(WAIT_LIMIT_MS);
    page.on("pageerror", (error) => this.complaints.push(`${error}`));
    page.on("console", (message) => {
      if (message.type() === "error") this.complaints.push(message.text());
    });
  }

  /** @param emulatesGl has pages draw with WebGL2 although no graphics processor is there. */
  static async open(
    browser: Browser,
    address: string,
    options: BrowserContextOptions & { emulatesGl?: boolean } = {},
  ): Promise<ViewPage> {
    const { emulatesGl, ...context } = options;
    const page = await browser.newPage(context);
    if (emulatesGl) await page.addInitScript(EMULATE_GL);
    const view = new ViewPage(page);
    await page.goto(address);
    // While no browser is connected, frames are released unread.
    await view.holds(`!["", "connecting"].includes(document.querySelector("#connection").textContent)`);
    return view;
  }

  /** Waits until an element shows a text. */
  async shows(selector: string, text: string | RegExp): Promise<void> {
    await this.#until(`document.querySelector(${JSON.stringify(selector)})?.textContent ?? ""`, text);
  }

  /** Waits until a fact about the frame is this. */
  async showsFact(term: string, text: string | RegExp): Promise<void> {
    await this.#until(factExpression(term), text);
  }

  async fact(term: string): Promise<string> {
    return await this.page.evaluate(factExpression(term));
  }

  async #until(expression: string, text: string | RegExp): Promise<void> {
    const holds =
      typeof text === "string"
        ? `(${expression}).includes(${JSON.stringify(text)})`
        : `${text}.test(${expression})`;
    await this.holds(holds).catch(async () => {
      const shown = `${await this.page.evaluate(expression)}`;
      throw new Error(`the page does not show ${text}, but ${shown.slice(0, 500)}`);
    });
  }

  /** Waits until an expression is true in the page, whose own policy forbids it to evaluate texts. */
  async holds(expression: string): Promise<void> {
    const deadline = performance.now() + WAIT_LIMIT_MS;
    while (!(await this.page.evaluate(expression))) {
      if (performance.now() > deadline) throw new Error(`still not so: ${expression}`);
      await Bun.sleep(10);
    }
  }

  /** The pixels of the picture that is shown: red, green, blue and alpha of each. */
  async pixels(): Promise<Pixels> {
    const pixels: Pixels | null = await this.page.evaluate(PIXELS);
    if (pixels !== null) return pixels;
    throw new Error(
      `no picture: ${await this.page.evaluate('document.querySelector("#reason").textContent')}`,
    );
  }

  /** The pixels of the next picture: of the first that is another one than this. */
  async pixelsAfter(last: Pixels | undefined): Promise<Pixels> {
    await this.holds(`JSON.stringify(${PIXELS}?.data) !== ${JSON.stringify(JSON.stringify(last?.data))}`);
    return await this.pixels();
  }

  /** What draws the picture: `webgl2` or `2d`. */
  async painter(): Promise<string> {
    return await this.page.evaluate(
      `document.querySelector("#paper canvas").getContext("webgl2") ? "webgl2" : "2d"`,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.page.close();
  }
}

/** Takes the pixels of the picture that is shown, in a page; null if none is. */
const PIXELS = `(() => {
  const shown = document.querySelector("#paper canvas");
  if (shown === null) return null;
  const { width, height } = shown;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(shown, 0, 0);
  return { width, height, data: [...context.getImageData(0, 0, width, height).data] };
})()`;

/** Finds a fact about the frame, in a page. */
function factExpression(term: string): string {
  const terms = `[...document.querySelectorAll("#facts dt")]`;
  return `${terms}.find(({ textContent }) => textContent === ${JSON.stringify(term)})?.nextElementSibling?.textContent ?? ""`;
}

/** Keeps a page from noticing that there is no graphics processor. */
const EMULATE_GL = `{
  const original = WebGL2RenderingContext.prototype.getExtension;
  WebGL2RenderingContext.prototype.getExtension = function (name) {
    return name === "WEBGL_debug_renderer_info" ? null : original.call(this, name);
  };
}`;

/** Writes frames as one writer, which stays until it is closed. */
export async function writeFrames(
  name: string,
  metadata: string | object | undefined,
  ...frames: readonly Uint8Array[]
): Promise<Writer> {
  const writer = await Writer.connect(name, { connectTimeoutMs: WAIT_LIMIT_MS });
  const text = typeof metadata === "object" ? JSON.stringify(metadata) : metadata;
  if (text !== undefined) writer.setMetadata(new TextEncoder().encode(text));
  for (const frame of frames) writer.writeFrame(frame);
  return writer;
}
