// Serves the page until the run ends: the newest frames of a buffer, if there is one, and what all buffers do.

import { explain } from "../../cli/failure.ts";
import { count } from "../../cli/format.ts";
import { startProgress } from "../../cli/progress.ts";
import type { Session } from "../../cli/session.ts";
import type { Endpoint } from "../../cli/values.ts";
import { version } from "../../cli/version.ts";
import type { Frame, Reader } from "../../core/index.ts";
import { raceAbort } from "../../runtime/abort.ts";
import type { ViewDocument } from "../../schemas/view.ts";
import { blankDetails, look } from "../inspect/details.ts";
import { Browsers } from "./browsers.ts";
import { ViewLoop } from "./loop.ts";
import { Overview } from "./overview.ts";
import { pageFiles } from "./page-files.ts";
import { type FrameHead, LOOK_MS, type ServerMessage, type WriterState } from "./protocol.ts";
import { ViewServer } from "./server.ts";
import { type SightOptions, Sights } from "./sights.ts";

/** Where and how to serve. */
export interface ServingOptions extends SightOptions {
  readonly endpoint: Endpoint;
  readonly origins: readonly string[];
  readonly token: string;
  readonly follow: boolean;
}

/** Serves the page. */
export class Serving {
  readonly #options: ServingOptions;
  readonly #session: Session;
  readonly #document: ViewDocument;
  readonly #reader: Reader | undefined;
  readonly #sights: Sights;
  readonly #browsers = new Browsers();
  readonly #overview = new Overview();
  readonly #server: ViewServer;
  #writer: WriterState = "awaited";
  #timer: Timer | undefined;
  #hasFailed = false;

  private constructor(
    options: ServingOptions,
    reader: Reader | undefined,
    files: Awaited<ReturnType<typeof pageFiles>>,
    session: Session,
    document: ViewDocument,
  ) {
    this.#options = options;
    this.#reader = reader;
    this.#session = session;
    this.#document = document;
    this.#sights = new Sights(options);
    this.#server = session.own(
      new ViewServer({
        ...options,
        files,
        browsers: this.#browsers,
        welcome: () => this.#welcome(),
        details: detailsOf,
        onChange: () => this.#onChange(),
      }),
    );
    session.own({ [Symbol.dispose]: () => clearTimeout(this.#timer) });
  }

  /** @throws CommandError IO_ERROR if the address cannot be listened on. */
  static async open(
    options: ServingOptions,
    reader: Reader | undefined,
    session: Session,
    document: ViewDocument,
  ): Promise<Serving> {
    return new Serving(options, reader, await pageFiles(), session, document);
  }

  /** The address without the token. */
  get origin(): string {
    return this.#server.origin;
  }

  /** Serves until the run ends, or, unless it follows, until the writer has left. */
  async run(): Promise<void> {
    const reader = this.#reader;
    if (reader === undefined) return await raceAbort(new Promise<never>(() => {}), this.#session.signal);
    const progress = await startProgress(this.#session, "Viewing", undefined);
    const browsers = this.#browsers;
    const loop = new ViewLoop(reader, this.#sights, this.#session, {
      get isLooking() {
        return browsers.count > 0;
      },
      onFrame: (frame) => {
        if (browsers.count > 0) this.#show(frame);
        progress?.update(this.#arrived, reader.bytesRead, this.#arrived);
        return false;
      },
      onWriter: (state) => {
        this.#writer = state;
        browsers.tell({ type: "writer", state });
      },
    });
    try {
      await loop.run(this.#options);
    } finally {
      this.#document.frames_read = reader.framesRead;
      this.#document.frames_skipped = reader.framesSkipped;
      this.#document.frames_sent = browsers.framesSent;
      this.#document.bytes_sent = browsers.bytesSent;
      this.#document.metadata_size = loop.metadataSize;
    }
  }

  /** Frames that have come so far. */
  get #arrived(): number {
    return this.#reader === undefined ? 0 : this.#reader.framesRead + this.#reader.framesSkipped;
  }

  #show(frame: Frame): void {
    const { data, sequence, size } = frame;
    const { sight, stamp, skipped, data: shown } = this.#sights.look(data);
    const head: FrameHead = {
      type: "frame",
      sequence,
      stampNumber: stamp?.number ?? null,
      stampMs: stamp?.ms ?? null,
      arrived: this.#arrived,
      atMs: Date.now(),
      size,
      skipped,
      sight,
    };
    this.#browsers.show({ head, data: shown });
  }

  #welcome(): readonly ServerMessage[] {
    const { buffers, histories, lookedAtMs = 0 } = this.#overview;
    const { times, all } = histories;
    return [
      { type: "welcome", buffer: this.#reader?.name ?? null, version },
      { type: "writer", state: this.#writer },
      { type: "history", times, buffers: Object.fromEntries(all) },
      { type: "overview", atMs: lookedAtMs, arrived: this.#arrived, buffers },
    ];
  }

  #onChange(): void {
    const { count: browsers } = this.#browsers;
    this.#document.browsers = Math.max(this.#document.browsers, browsers);
    this.#session.log?.info(`${count(browsers, "browsers")} connected.`);
    if (browsers > 0 && this.#timer === undefined) this.#timer = setTimeout(() => this.#look(), 0);
  }

  /** Looks at all buffers as long as there is a browser. */
  #look(): void {
    this.#timer = undefined;
    if (this.#browsers.count === 0) return;
    try {
      const buffers = this.#overview.look();
      const { lookedAtMs: atMs = 0 } = this.#overview;
      this.#browsers.tellIdle({ type: "overview", atMs, arrived: this.#arrived, buffers });
      this.#hasFailed = false;
    } catch (error) {
      if (!this.#hasFailed) this.#session.log?.warn(explain(error).message);
      this.#hasFailed = true;
    }
    this.#timer = setTimeout(() => this.#look(), LOOK_MS);
  }
}

function detailsOf(name: string): object | undefined {
  const details = blankDetails(name);
  return look(name, details, null) ? details : undefined;
}
