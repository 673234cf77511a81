// A NATS server of a test: on a free port of the loopback interface, with a directory of its own.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, headers, type NatsConnection } from "@nats-io/transport-node";
import { type PartMark, partHeaders } from "../../src/frames/wire.ts";
import { Child } from "./process.ts";

const SERVER = Bun.which("nats-server", { PATH: `${process.env.PATH}:/usr/sbin` });

/** Whether there is a NATS server to test with. */
export const canServe = SERVER !== null;
if (!canServe) console.error("nats-server is not installed: the tests of bridges are skipped.");

/** How a server is started. */
export interface NatsOptions {
  /** More lines of its configuration. */
  readonly config?: string;
  /** Default: 127.0.0.1. */
  readonly host?: string;
  /** The words of a program that runs the server, as in {@link Child}. */
  readonly within?: readonly string[];
  /** Variables of its environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A server that can be killed and started again. */
export class NatsServer implements AsyncDisposable {
  readonly #directory: string;
  readonly #options: NatsOptions;
  #child: Child;
  #port = -1;

  private constructor(directory: string, options: NatsOptions) {
    this.#directory = directory;
    this.#options = options;
    this.#child = this.#spawn();
  }

  static async start(options: NatsOptions = {}): Promise<NatsServer> {
    const server = new NatsServer(mkdtempSync(join(tmpdir(), "zerobuffer-nats-")), options);
    await server.#isReady();
    return server;
  }

  get port(): number {
    return this.#port;
  }

  get url(): string {
    return `nats://${this.#options.host ?? "127.0.0.1"}:${this.#port}`;
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Ends it at once, as a crash does. */
  async kill(): Promise<void> {
    await this.#child[Symbol.asyncDispose]();
  }

  /** Starts it again on the same port, with what it has stored. */
  async restart(): Promise<void> {
    this.#child = this.#spawn();
    await this.#isReady();
  }

  /** Stops and resumes it as the system does. */
  async stop(): Promise<void> {
    await this.#child.stop();
  }

  resume(): void {
    this.#child.resume();
  }

  #spawn(): Child {
    const { config = "", host = "127.0.0.1", within = [], env = {} } = this.#options;
    const path = join(this.#directory, "nats.conf");
    const lines = [
      `host: ${host}`,
      `port: ${this.#port}`,
      `jetstream { store_dir: "${this.#directory}", max_file_store: 20GB, max_memory_store: 1GB }`,
      config,
    ];
    writeFileSync(path, `${lines.join("\n")}\n`);
    return Child.program([SERVER ?? "nats-server", "-c", path], { stdin: "ignore", within, env });
  }

  async #isReady(): Promise<void> {
    await this.#child.logged("Server is ready");
    const log = /Listening for client connections on \S+:(\d+)/;
    if (this.#port < 0) this.#port = Number(log.exec(this.#child.printedToStderr)?.[1]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child[Symbol.asyncDispose]();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** A connection of the test itself, which sends what it likes. */
export class Stranger implements AsyncDisposable {
  readonly connection: NatsConnection;

  private constructor(connection: NatsConnection) {
    this.connection = connection;
  }

  static async connect(server: NatsServer): Promise<Stranger> {
    return new Stranger(await connect({ servers: server.url }));
  }

  /** Sends a message with headers, and returns when the server has it. */
  async send(subject: string, data: Uint8Array, fields: Readonly<Record<string, string>>): Promise<void> {
    const all = headers();
    for (const [name, value] of Object.entries(fields)) all.set(name, value);
    this.connection.publish(subject, data, { headers: all });
    await this.connection.flush();
  }

  /** Sends a part of a frame as a publisher does. */
  async sendPart(
    subject: string,
    data: Uint8Array,
    mark: Partial<PartMark> & Pick<PartMark, "run" | "sequence">,
  ) {
    const whole = { size: data.length, part: 1, parts: 1, timeUs: Date.now() * 1000, ...mark };
    await this.send(subject, data, partHeaders(whole));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.connection.close();
  }
}
