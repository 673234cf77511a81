import { describe, expect, test } from "bun:test";
import { Browser, Browsers, type Socket } from "../../../src/commands/view/browsers.ts";
import type { FrameHead } from "../../../src/commands/view/protocol.ts";

/** A socket that notes what it has taken, and takes nothing while it is full. */
class TestSocket {
  readonly taken: string[] = [];
  isFull = false;
  queued = 0;

  #take(message: string): number {
    if (this.isFull) return 0;
    this.taken.push(message);
    return message.length;
  }

  readonly socket = {
    sendText: (text: string) => this.#take(text),
    sendBinary: (data: Uint8Array) => this.#take(`${data}`),
    getBufferedAmount: () => this.queued,
  } as unknown as Socket;
}

function frame(number: number, data = Uint8Array.of(number)) {
  const head = { type: "frame", arrived: number } as FrameHead;
  return { head, data };
}

/** The numbers of the frames that a socket has taken. */
const framesOf = ({ taken }: TestSocket) => taken.filter((message) => /^[\d,]+$/.test(message));

function connect(browsers: Browsers) {
  const socket = new TestSocket();
  const browser = new Browser(socket.socket);
  browsers.add(browser);
  return { socket, browser };
}

describe("a browser", () => {
  test("gets no frame before it is ready, and one each time", () => {
    const browsers = new Browsers();
    const { socket, browser } = connect(browsers);
    browsers.show(frame(1));
    expect(framesOf(socket)).toEqual([]);
    browsers.noteReady(browser, true);
    // The newest one, of which there is a copy.
    expect(framesOf(socket)).toEqual(["1"]);
    browsers.show(frame(2));
    browsers.show(frame(3));
    expect(framesOf(socket)).toEqual(["1"]);
    browsers.noteReady(browser, true);
    expect(framesOf(socket)).toEqual(["1", "3"]);
    browsers.noteReady(browser, true);
    expect(framesOf(socket)).toEqual(["1", "3"]);
    browsers.show(frame(4));
    expect(framesOf(socket)).toEqual(["1", "3", "4"]);
  });

  test("gets none after it has taken its wish back", () => {
    const browsers = new Browsers();
    const { socket, browser } = connect(browsers);
    browsers.noteReady(browser, true);
    browsers.noteReady(browser, false);
    browsers.show(frame(1));
    expect(framesOf(socket)).toEqual([]);
    browsers.noteReady(browser, true);
    expect(framesOf(socket)).toEqual(["1"]);
  });

  test("that never is ready keeps no other one from its frames, and costs one copy", () => {
    const browsers = new Browsers();
    const { socket: silent } = connect(browsers);
    const { socket, browser } = connect(browsers);
    for (let number = 1; number <= 5; number++) {
      browsers.noteReady(browser, true);
      browsers.show(frame(number));
    }
    expect(framesOf(socket)).toEqual(["1", "2", "3", "4", "5"]);
    expect(framesOf(silent)).toEqual([]);
    expect([browsers.framesSent, browsers.bytesSent]).toEqual([5, 5]);
  });

  test("gets later what its socket has not taken, in order and as it was", () => {
    const browsers = new Browsers();
    const { socket, browser } = connect(browsers);
    browsers.noteReady(browser, true);
    socket.isFull = true;
    const lent = Uint8Array.of(7, 8);
    browsers.show(frame(1, lent));
    lent.fill(0);
    browser.send({ type: "writer", state: "left" });
    expect(browser.isIdle).toBe(false);
    browsers.drain(browser);
    expect(socket.taken).toEqual([]);
    socket.isFull = false;
    browsers.drain(browser);
    expect(socket.taken).toEqual([
      JSON.stringify({ type: "frame", arrived: 1 }),
      "7,8",
      JSON.stringify({ type: "writer", state: "left" }),
    ]);
    expect(browser.isIdle).toBe(true);
  });

  test("that asks again before it has taken a frame gets the next one after that", () => {
    const browsers = new Browsers();
    const { socket, browser } = connect(browsers);
    browsers.noteReady(browser, true);
    browsers.show(frame(1));
    socket.queued = 1;
    browsers.noteReady(browser, true);
    browsers.show(frame(2));
    browsers.show(frame(3));
    expect(framesOf(socket)).toEqual(["1"]);
    socket.queued = 0;
    browsers.drain(browser);
    expect(framesOf(socket)).toEqual(["1", "3"]);
  });

  test("that is slow gets no figures, which would queue up", () => {
    const browsers = new Browsers();
    const { socket } = connect(browsers);
    socket.queued = 1;
    browsers.tellIdle({ type: "clock", ms: 1 });
    expect(socket.taken).toEqual([]);
    socket.queued = 0;
    browsers.tellIdle({ type: "clock", ms: 1 });
    expect(socket.taken).toHaveLength(1);
  });
});

test("the copy of the newest frame goes with the last browser", () => {
  const browsers = new Browsers();
  const { browser } = connect(browsers);
  browsers.show(frame(1));
  browsers.remove(browser);
  const { socket, browser: next } = connect(browsers);
  browsers.noteReady(next, true);
  expect(framesOf(socket)).toEqual([]);
});
