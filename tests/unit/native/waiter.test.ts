// Waiting without blocking the event loop, and the bell that ends a wait.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Bell } from "../../../src/native/bell.ts";
import { native } from "../../../src/native/library.ts";
import { Role } from "../../../src/native/memory.ts";
import { Semaphore } from "../../../src/native/semaphore.ts";
import { Waiter } from "../../../src/native/waiter.ts";
import { uniqueName } from "../../support/buffers.ts";
import { Child } from "../../support/process.ts";

/** Longer than any test. */
const LONG_US = 2_000_000_000;
const SHORT_US = 5000;

function createSemaphore(): Semaphore {
  const semaphore = Semaphore.create(uniqueName(), Role.WRITER, undefined);
  if (typeof semaphore === "number") throw new Error(`code ${semaphore}`);
  semaphore.unlink();
  return semaphore;
}

async function isPending(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const note = () => {
    settled = true;
  };
  void promise.then(note, note);
  await new Promise(setImmediate);
  return !settled;
}

describe("a wait", () => {
  let semaphore: Semaphore;
  let waiter: Waiter;

  beforeEach(() => {
    semaphore = createSemaphore();
    waiter = Waiter.open(semaphore) as Waiter;
  });

  afterEach(() => {
    waiter.close();
    semaphore.close();
  });

  test("ends with a token, which it leaves", async () => {
    const wait = waiter.wait(LONG_US);
    expect(await isPending(wait)).toBeTrue();
    semaphore.post();
    await wait;
    expect(semaphore.value).toBe(1);
    await waiter.wait(LONG_US);
  });

  test("ends after its time", async () => {
    const start = performance.now();
    await waiter.wait(20_000);
    expect(performance.now() - start).toBeGreaterThanOrEqual(19);
  });

  test("ends after its own time beside one that was given up and lasts longer", async () => {
    const long = waiter.wait(LONG_US);
    await waiter.wait(SHORT_US);
    await waiter.wait(SHORT_US);
    expect(await isPending(long)).toBeTrue();
  });

  test("ends with a token beside another one, whichever is longer", async () => {
    const waits = [waiter.wait(LONG_US - 1000), waiter.wait(LONG_US), waiter.wait(LONG_US / 2)];
    semaphore.post();
    await Promise.all(waits);
  });

  test("ends when the waiter is closed, as do all others", async () => {
    const waits = [waiter.wait(LONG_US), waiter.wait(LONG_US), waiter.wait(LONG_US / 2)];
    waiter.close();
    await Promise.all(waits);
    expect(() => waiter.wait(SHORT_US)).toThrow("Waiter is closed");
  });

  test("keeps the process alive no longer than it lasts", async () => {
    const name = uniqueName();
    const script = `
      import { Semaphore } from "./src/native/semaphore.ts";
      import { Waiter } from "./src/native/waiter.ts";
      const semaphore = Semaphore.create("${name}", 0);
      semaphore.unlink();
      const waiter = Waiter.open(semaphore);
      const waits = [waiter.wait(${LONG_US}), waiter.wait(${LONG_US}), waiter.wait(${LONG_US / 2})];
      semaphore.post();
      await Promise.all(waits);
      console.log(JSON.stringify({ event: "over" }));`;
    await using child = Child.program([process.execPath, "-e", script], { stdin: "ignore" });
    await child.receive("over");
    expect((await child.exited()).code).toBe(0);
  });
});

describe("a bell", () => {
  test("settles and never rings again once its waiter has gone", async () => {
    const semaphore = createSemaphore();
    const descriptor = new Int32Array(1);
    const waiter = new BigUint64Array(1);
    native.zb_waiter_open(semaphore.address, descriptor, waiter);
    const bell = Bell.open(descriptor[0] as number);
    const next = bell.next();
    expect(bell.next()).toBe(next);
    native.zb_waiter_close(Number(waiter[0]));
    await next;
    expect(bell.isOver).toBeTrue();
    await bell.next();
    bell.close();
    semaphore.close();
  });

  test("that is closed settles what was asked before, and what is asked afterwards", async () => {
    const semaphore = createSemaphore();
    const descriptor = new Int32Array(1);
    const waiter = new BigUint64Array(1);
    native.zb_waiter_open(semaphore.address, descriptor, waiter);
    const bell = Bell.open(descriptor[0] as number);
    const next = bell.next();
    bell.close();
    await next;
    await bell.next();
    bell.close();
    native.zb_waiter_close(Number(waiter[0]));
    semaphore.close();
  });

  describe("on a named pipe", () => {
    let server: Server;
    let path: string;
    let connected: Promise<Socket>;

    beforeEach(async () => {
      path = join(tmpdir(), `${uniqueName()}.socket`);
      server = createServer();
      connected = new Promise((resolve) => server.on("connection", resolve));
      await new Promise<void>((resolve) => server.listen(path, resolve));
    });

    afterEach(() => {
      server.close();
      rmSync(path, { force: true });
    });

    test("rings for a byte", async () => {
      const bell = Bell.connect(path);
      const next = bell.next();
      const socket = await connected;
      expect(await isPending(next)).toBeTrue();
      socket.write("x");
      await next;
      const other = bell.next();
      expect(await isPending(other)).toBeTrue();
      bell.close();
      await other;
      socket.destroy();
    });

    test("settles and never rings again once the pipe has failed", async () => {
      const bell = Bell.connect(path);
      const next = bell.next();
      (await connected).destroy();
      await next;
      expect(bell.isOver).toBeTrue();
      await bell.next();
      bell.close();
    });

    test("settles and never rings if it cannot connect", async () => {
      const bell = Bell.connect(`${path}.missing`);
      await bell.next();
      expect(bell.isOver).toBeTrue();
      await bell.next();
      bell.close();
    });
  });
});
