// What tests of duplex serve and duplex request share.

import { expect } from "bun:test";
import { join } from "node:path";
import { Child, runJson } from "../support/process.ts";
import { expectValid } from "../support/schemas.ts";

const answerer = join(import.meta.dir, "fixtures", "answerer.ts");

/** The command line of a program for --exec. */
export const program = (...args: string[]) => [process.execPath, answerer, ...args].join(" ");

export const SMALL = ["--buffer-size", "1MiB"];

/** A server that is ready for a client. */
export async function serve(channel: string, ...args: string[]): Promise<Child> {
  const server = Child.cli(["duplex", "serve", channel, ...SMALL, "--json-output", "-v", ...args]);
  await server.logged(`Created channel "${channel}"`);
  return server;
}

export const ask = (channel: string, ...args: string[]) =>
  runJson("duplex", "request", channel, ...SMALL, ...args);

export async function stopped(server: Child) {
  server.kill("SIGTERM");
  const report = await server.report();
  expect(report.code).toBe(143);
  expectValid("duplex-serve", report.document);
  return report.document;
}
