import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type Courier, type Message, Outbox, type Parcel } from "../../../src/commands/bridge/outbox.ts";

const MIB = 2 ** 20;
/** What may be on its way, by the rules of bridges. */
const WINDOW = 8 * MIB;

/** A broker that confirms when it is told to. */
class FakeCourier implements Courier {
  readonly room = MIB;
  /** What the broker has, and what is on its way. */
  readonly stored: string[] = [];
  onTheWay: Message[] = [];
  #question: { readonly posted: Message[]; readonly done: PromiseWithResolvers<void> } | undefined;
  mostBytes = 0;

  post(message: Message): void {
    this.onTheWay.push(message);
    const bytes = this.onTheWay.reduce((sum, { data }) => sum + data.length, 0);
    this.mostBytes = Math.max(this.mostBytes, bytes);
  }

  settle(): Promise<void> {
    expect(this.#question).toBeUndefined();
    this.#question = { posted: [...this.onTheWay], done: Promise.withResolvers() };
    return this.#question.done.promise;
  }

  async recover(): Promise<void> {}

  /** The broker has got what was asked about. */
  async confirm(): Promise<void> {
    const question = this.#question;
    if (question === undefined) return;
    this.#question = undefined;
    this.stored.push(...question.posted.map(({ id }) => id));
    this.onTheWay = this.onTheWay.slice(question.posted.length);
    question.done.resolve();
    await turn();
  }

  /** The broker is gone: it has got the first `got` messages, and says nothing. */
  lose(got: number): void {
    this.stored.push(...this.onTheWay.slice(0, got).map(({ id }) => id));
    this.onTheWay = [];
    this.#question?.done.reject(new Error("the connection is lost"));
    this.#question = undefined;
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

function parcel(name: string, size: number, released: string[], isFrame = true): Parcel {
  const data = new Uint8Array(size);
  const parts = Math.max(1, Math.ceil(size / MIB));
  return {
    data,
    parts,
    isFrame,
    message: (part, data) => ({ subject: "s", data, headers: {}, id: `${name}.${part}/${parts}` }),
    release: () => released.push(name),
  };
}

/** The ids of a parcel's messages. */
const idsOf = (name: string, size: number) => {
  const parts = Math.max(1, Math.ceil(size / MIB));
  return Array.from({ length: parts }, (_, i) => `${name}.${i + 1}/${parts}`);
};

describe("an outbox", () => {
  test("delivers every message at least once and in order, whatever gets lost, and releases each parcel once", async () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant("add" as const), size: fc.integer({ min: 1, max: 5 * MIB }) }),
      fc.record({ kind: fc.constant("confirm" as const) }),
      fc.record({ kind: fc.constant("lose" as const), got: fc.nat(8) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const courier = new FakeCourier();
        const released: string[] = [];
        const outbox = new Outbox(courier, () => {});
        const wanted: string[] = [];
        let count = 0;
        for (const one of steps) {
          if (one.kind === "add") {
            const name = `${++count}`;
            outbox.add(parcel(name, one.size, released));
            wanted.push(...idsOf(name, one.size));
          } else if (one.kind === "confirm") await courier.confirm();
          else {
            outbox.close();
            courier.lose(one.got);
            await turn();
            outbox.open();
          }
        }
        while (!outbox.isEmpty) await courier.confirm();
        await outbox.empty();
        // Of messages that came again, the first time counts, as it does for a receiver.
        expect([...new Set(courier.stored)]).toEqual(wanted);
        expect(released).toEqual(Array.from({ length: count }, (_, i) => `${i + 1}`));
        expect(courier.mostBytes).toBeLessThanOrEqual(WINDOW);
      }),
    );
  });

  test("sends nothing while it is closed, and has no room beyond twice what may be on its way", async () => {
    const courier = new FakeCourier();
    const outbox = new Outbox(courier, () => {});
    outbox.close();
    let added = 0;
    for (; outbox.hasRoom; added++) outbox.add(parcel(`${added}`, MIB, []));
    expect(courier.onTheWay).toEqual([]);
    expect(added).toBe((2 * WINDOW) / MIB);
    let hasRoom = false;
    const room = outbox.room().then(() => {
      hasRoom = true;
    });
    outbox.open();
    await turn();
    expect(hasRoom).toBe(false);
    expect(courier.onTheWay).toHaveLength(WINDOW / MIB);
    await courier.confirm();
    await room;
    expect(outbox.resent).toBe(0);
  });

  test("gives up what it has, and tells whether the broker may have lost something", async () => {
    const courier = new FakeCourier();
    const released: string[] = [];
    const failures: unknown[] = [];
    const outbox = new Outbox(courier, (error) => failures.push(error));
    outbox.add(parcel("a", 10, released));
    courier.lose(0);
    await turn();
    expect(failures).toHaveLength(1);
    outbox.close();
    outbox.clear();
    expect(released).toEqual(["a"]);
    expect(outbox.isEmpty).toBe(true);
    outbox.open();
    expect(courier.onTheWay).toEqual([]);
  });

  test("gives up frames alone, and sends the rest again", async () => {
    const courier = new FakeCourier();
    const released: string[] = [];
    const outbox = new Outbox(courier, () => {});
    outbox.add(parcel("about", 10, released, false));
    for (const name of ["1", "2"]) outbox.add(parcel(name, 2 * MIB, released));
    outbox.add(parcel("end", 10, released, false));
    outbox.close();
    expect(outbox.isOpen).toBe(false);
    courier.lose(2);
    let isEmpty = false;
    const empty = outbox.empty().then(() => {
      isEmpty = true;
    });
    outbox.clearFrames();
    await turn();
    expect(isEmpty).toBe(false);
    expect(released).toEqual(["1", "2"]);
    outbox.open();
    expect(courier.onTheWay.map(({ id }) => id)).toEqual(["about.1/1", "end.1/1"]);
    await courier.confirm();
    await empty;
    expect(released).toEqual(["1", "2", "about", "end"]);
    expect(outbox.resent).toBe(0);
    for (let added = 0; outbox.hasRoom; added++) {
      expect(added).toBeLessThan((2 * WINDOW) / MIB);
      outbox.add(parcel("more", MIB, released));
    }
  });
});
