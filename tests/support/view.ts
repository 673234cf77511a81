// zerobuffer view, and its page in a browser, for tests.

import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { Writer } from "../../src/core/index.ts";
import { WAIT_LIMIT_MS } from "./buffers.ts";
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
    return view;
  }

  /** Waits until an element shows a text. */
  async shows(selector: string, text: string | RegExp): Promise<void> {
    const pattern = typeof text === "string" ? text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&") : text.source;
    await this.page.waitForFunction(
      ([where, what]) => new RegExp(what).test(document.querySelector(where)?.textContent ?? ""),
      [selector, pattern] as const,
    );
  }

  /** Waits until a fact about the frame is this. */
  async showsFact(term: string, text: string | RegExp): Promise<void> {
    const start = `(^|\\n)${term}: `;
    const pattern = typeof text === "string" ? text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&") : text.source;
    await this.page.waitForFunction(
      ([what]) => {
        const facts = [...document.querySelectorAll("#facts > div")];
        const lines = facts.map((one) => [...one.children].map(({ textContent }) => textContent).join(": "));
        return new RegExp(what).test(lines.join("\n"));
      },
      [`${start}${pattern}`] as const,
    );
  }

  async fact(term: string): Promise<string> {
    return await this.page.evaluate((wanted) => {
      const place = [...document.querySelectorAll("#facts dt")].find(({ textContent }) => textContent === wanted);
      return place?.nextElementSibling?.textContent ?? "";
    }, term);
  }

  /** The pixels of the picture that is shown: red, green, blue and alpha of each. */
  async pixels(): Promise<{ width: number; height: number; data: number[] }> {
    return await this.page.evaluate(() => {
      const shown = document.querySelector<HTMLCanvasElement>("#paper canvas");
      if (shown === null) throw new Error("no picture");
      const { width, height } = shown;
      const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
      context?.drawImage(shown, 0, 0);
      return { width, height, data: [...(context?.getImageData(0, 0, width, height).data ?? [])] };
    });
  }

  /** What draws the picture: `webgl2` or `2d`. */
  async painter(): Promise<string> {
    return await this.page.evaluate(() => {
      const shown = document.querySelector<HTMLCanvasElement>("#paper canvas");
      return shown?.getContext("webgl2") === null ? "2d" : "webgl2";
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.page.close();
  }
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
