// Writers that come and go, without a ring: control blocks, processes and tokens are as the test says.

import { describe, expect, test } from "bun:test";
import type { Oieb } from "../../../src/core/buffer/oieb.ts";
import type { Holders, Presence } from "../../../src/core/buffer/presence.ts";
import { type WriterState, WriterWatch } from "../../../src/core/writer-watch.ts";
import { Code } from "../../../src/native/codes.ts";

/** A buffer whose writer does what the test says. */
class Stage {
  /** What the control block holds. */
  writerPid = 0n;
  payloadWrittenCount = 0;
  metadataWrittenBytes = 0;
  /** Whether the ring is empty, and its positions are equal. */
  isRingWhole = false;
  /** Processes that are alive: pid, and which process that is, one number for each. */
  readonly alive = new Map<bigint, number>();
  surplusTokens = 0;
  /** Whether a writer of this package has the lock of its role, if another one than the watch has it. */
  isLocked = false;
  /** Whether writers are of this package. */
  isOurs = true;
  /** Whether the last writer is known to use the memory no more. */
  hasLetGo = true;
  /** What the watch has done, in order. */
  readonly deeds: string[] = [];
  /** How often it has tried to take the writer's place, in which a v1 writer is refused. */
  claims = 0;
  /** Happens once the watch has loaded the control block that many times more. */
  readonly interruptions: (() => void)[] = [];
  readonly watch: WriterWatch;

  constructor() {
    const stage = this;
    let processes = 0;
    let known = -1;
    const peer = {
      lastPid: 0n,
      judge: ({ writerPid }: Holders): Presence => {
        const process = stage.alive.get(writerPid);
        if (process === undefined) return stage.isLocked ? "alive" : "dead";
        if (process !== known) processes++;
        known = process;
        peer.lastPid = writerPid;
        return "alive";
      },
      forget: () => {
        known = -1;
      },
      hasLetGo: () => stage.hasLetGo,
      isStillVisible: () => !stage.hasLetGo,
      get isOurs() {
        return stage.isOurs && known !== -1;
      },
      get processes() {
        return processes;
      },
    };
    const ring = {
      surplusSeen: 0,
      get surplusTokens() {
        return stage.surplusTokens;
      },
      settle: () => {
        stage.deeds.push(`settle as ${stage.#placeHolder()}`);
      },
    };
    const memory = {
      claim: this.#claim,
      clearMetadata: this.#clearMetadata,
      lockRole: () => (this.isLocked ? Code.LOCKED : Code.OK),
      unlockRole: () => {},
      restore: (_role: number, pid: bigint | number) => {
        this.deeds.push(`restore ${pid}`);
        return this.#claim(_role, 0n, Number(pid));
      },
    };
    this.watch = new WriterWatch({ loadOieb: () => this.#load(), memory }, peer, ring);
  }

  #load(): Oieb {
    const { writerPid, payloadWrittenCount, metadataWrittenBytes } = this;
    const ring = {
      payloadSize: 1024,
      payloadFreeBytes: 1024,
      payloadReadPos: 1024,
      payloadWritePos: this.isRingWhole ? 0 : 64,
    };
    this.interruptions.shift()?.();
    return { writerPid, payloadWrittenCount, metadataWrittenBytes, ...ring } as Oieb;
  }

  readonly #claim = (_role: number, expected: bigint | number, pid: number): boolean => {
    this.claims++;
    if (this.writerPid !== BigInt(expected)) return false;
    this.writerPid = BigInt(pid);
    return true;
  };

  readonly #clearMetadata = (): void => {
    this.deeds.push(`clear metadata as ${this.#placeHolder()}`);
    this.metadataWrittenBytes = 0;
  };

  #placeHolder(): string {
    return this.writerPid === BigInt(process.pid) ? "the writer" : `a bystander of ${this.writerPid}`;
  }

  /** A writer connects; `isAnother` process than all before, unless told otherwise. */
  connect(pid: bigint, { isAnother = true } = {}): void {
    this.writerPid = pid;
    if (isAnother) this.alive.set(pid, this.#nextProcess++);
  }
  #nextProcess = 0;

  /** It closes: its token comes now, or later. */
  close({ token = true } = {}): void {
    this.writerPid = 0n;
    if (token) this.surplusTokens++;
  }

  /** It is killed. */
  die(): void {
    this.alive.delete(this.writerPid);
  }

  look(): WriterState {
    this.watch.look();
    return this.watch.state;
  }

  /** A look that finds no frame: how the writer departed. */
  lookAndReport(): "left" | "died" | undefined {
    this.watch.look();
    return this.watch.reportDeparture();
  }
}

describe("a writer", () => {
  test("is awaited, connects, leaves, is reported once, and another one is awaited", () => {
    const stage = new Stage();
    expect(stage.look()).toBe("awaited");
    expect(stage.lookAndReport()).toBeUndefined();
    stage.connect(7n);
    expect(stage.look()).toBe("connected");
    expect(stage.lookAndReport()).toBeUndefined();
    stage.close();
    expect(stage.lookAndReport()).toBe("left");
    stage.watch.acceptNextWriter();
    for (let look = 0; look < 3; look++) expect(stage.look()).toBe("awaited");
    stage.connect(8n);
    expect(stage.look()).toBe("connected");
  });

  test("dies, is reported dead, and stays so until the next one is accepted", () => {
    const stage = new Stage();
    stage.connect(7n);
    stage.look();
    stage.die();
    expect(stage.lookAndReport()).toBe("died");
    // Its place was given back.
    expect(stage.writerPid).toBe(0n);
    expect(stage.look()).toBe("died");
    stage.watch.acceptNextWriter();
    expect(stage.look()).toBe("awaited");
  });

  test("that died is reported once it can be settled, and not while it may live after all", () => {
    const stage = new Stage();
    stage.connect(7n);
    stage.look();
    stage.die();
    // Somebody opens the memory for a moment, and might be the writer.
    stage.interruptions.push(
      () => {},
      () => {},
      () => stage.connect(7n),
    );
    expect(stage.lookAndReport()).toBeUndefined();
    expect(stage.deeds).toEqual([]);
    stage.die();
    expect(stage.lookAndReport()).toBe("died");
    expect(stage.deeds).toEqual(["settle as the writer"]);
  });

  test("that dies stays dead though the next one has taken its pid away", () => {
    const stage = new Stage();
    stage.connect(7n);
    stage.look();
    stage.die();
    expect(stage.look()).toBe("died");
    stage.writerPid = 0n;
    expect(stage.lookAndReport()).toBe("died");
  });

  test("that leaves between the load of its pid and the look at its process has not died", () => {
    const stage = new Stage();
    stage.connect(7n);
    stage.look();
    stage.interruptions.push(() => {
      stage.close();
      stage.alive.clear();
    });
    expect(stage.look()).toBe("left");
  });

  test.each<[string, (stage: Stage) => void]>([
    ["written frames", (stage) => stage.payloadWrittenCount++],
    ["metadata", (stage) => (stage.metadataWrittenBytes = 20)],
    ["the token of its close", (stage) => stage.surplusTokens++],
  ])("that came and went between two looks is known by %s", (_, leave) => {
    const stage = new Stage();
    for (let round = 0; round < 3; round++) {
      expect(stage.look()).toBe("awaited");
      leave(stage);
      expect(stage.lookAndReport()).toBe("left");
      stage.watch.acceptNextWriter();
    }
  });

  test("that died unseen is reported dead, though the last one had left", () => {
    const stage = new Stage();
    stage.connect(7n);
    stage.look();
    stage.close();
    stage.lookAndReport();
    stage.connect(8n);
    stage.die();
    stage.watch.acceptNextWriter();
    expect(stage.lookAndReport()).toBe("died");
  });
});

describe("a pid that somebody has overwritten with 0", () => {
  /** A stage whose writer has been seen, and lives on without its pid. */
  function overwritten(state: Partial<Pick<Stage, "isLocked" | "isOurs" | "hasLetGo">>): Stage {
    const stage = new Stage();
    Object.assign(stage, state);
    stage.connect(7n);
    stage.look();
    stage.writerPid = 0n;
    return stage;
  }

  test("is that of a living writer as long as it has the lock of its role", () => {
    const stage = overwritten({ isLocked: true });
    for (let look = 0; look < 3; look++) expect(stage.look()).toBe("connected");
    expect(stage.lookAndReport()).toBeUndefined();
    expect(stage.watch.livingPid()).toBe(7n);
    stage.isLocked = false;
    expect(stage.lookAndReport()).toBe("left");
  });

  test("is put back for a writer of version 1 that goes on writing", () => {
    const stage = overwritten({ isOurs: false, hasLetGo: false });
    expect(stage.look()).toBe("connected");
    expect(stage.deeds).toEqual([]);
    stage.payloadWrittenCount++;
    expect(stage.look()).toBe("connected");
    expect(stage.deeds).toEqual(["restore 7"]);
    expect(stage.writerPid).toBe(7n);
  });

  test("is that of a writer of version 1 that has left once it uses the memory no more", () => {
    const stage = overwritten({ isOurs: false, hasLetGo: false });
    expect(stage.look()).toBe("connected");
    stage.hasLetGo = true;
    expect(stage.lookAndReport()).toBe("left");
  });

  test("is that of a writer that has left before, if the lock belongs to one that is about to come", () => {
    const stage = overwritten({});
    expect(stage.look()).toBe("left");
    stage.isLocked = true;
    expect(stage.lookAndReport()).toBeUndefined();
    expect(stage.deeds).toEqual([]);
    stage.isLocked = false;
    expect(stage.lookAndReport()).toBe("left");
  });
});

describe("the token of a close", () => {
  test("that comes after the report is no trace of another writer", () => {
    const stage = new Stage();
    for (let round = 0; round < 3; round++) {
      stage.connect(7n);
      stage.payloadWrittenCount++;
      stage.look();
      stage.close({ token: false });
      expect(stage.lookAndReport()).toBe("left");
      stage.watch.acceptNextWriter();
      stage.surplusTokens++;
      expect(stage.look()).toBe("awaited");
    }
    // The next one is.
    stage.surplusTokens++;
    expect(stage.look()).toBe("left");
  });

  test("is not expected of a writer that died", () => {
    const stage = new Stage();
    stage.connect(7n);
    stage.look();
    stage.die();
    stage.lookAndReport();
    stage.watch.acceptNextWriter();
    stage.surplusTokens++;
    expect(stage.look()).toBe("left");
  });

  test("makes a look due at once", () => {
    const stage = new Stage();
    stage.look();
    expect([stage.watch.isLookDue, stage.watch.hasNewSurplus]).toEqual([false, false]);
    stage.surplusTokens++;
    expect([stage.watch.isLookDue, stage.watch.hasNewSurplus]).toEqual([true, true]);
    stage.look();
    expect([stage.watch.isLookDue, stage.watch.hasNewSurplus]).toEqual([false, false]);
  });

  test("that comes while the look goes on makes the next one due at once", () => {
    const stage = new Stage();
    stage.connect(7n);
    stage.interruptions.push(() => stage.close());
    stage.look();
    expect(stage.watch.isLookDue).toBe(true);
    expect(stage.look()).toBe("left");
  });
});

describe("the first frame", () => {
  /** A stage whose writer has been seen, and has brought frames. */
  function inTheMiddle(): Stage {
    const stage = new Stage();
    stage.connect(7n);
    stage.look();
    expect(stage.watch.acceptsFirstFrame).toBe(true);
    stage.watch.noteFrames();
    stage.look();
    expect(stage.watch.acceptsFirstFrame).toBe(false);
    return stage;
  }

  test("may come without a token from a successor with another pid that has come unseen, until it comes", () => {
    const stage = inTheMiddle();
    stage.die();
    stage.connect(8n);
    expect(stage.look()).toBe("connected");
    expect(stage.watch.acceptsFirstFrame).toBe(true);
    stage.look();
    expect(stage.watch.acceptsFirstFrame).toBe(true);
    stage.watch.noteFrames();
    stage.look();
    expect(stage.watch.acceptsFirstFrame).toBe(false);
  });

  test("may come from another process that has got the same pid", () => {
    const stage = inTheMiddle();
    stage.die();
    stage.connect(7n);
    expect(stage.look()).toBe("connected");
    expect(stage.watch.acceptsFirstFrame).toBe(true);
  });

  test("may come from another writer of the same process, which has closed the last one", () => {
    const stage = inTheMiddle();
    stage.close();
    stage.connect(7n, { isAnother: false });
    expect(stage.look()).toBe("connected");
    expect(stage.watch.acceptsFirstFrame).toBe(true);
  });

  test.each(["left", "died"])("may come once the last writer has %s", (departure) => {
    const stage = inTheMiddle();
    if (departure === "left") stage.close();
    else stage.die();
    stage.look();
    expect(stage.watch.acceptsFirstFrame).toBe(true);
  });
});

describe("what a writer left half done is settled", () => {
  test.each(["left", "died"])("when it has %s, in its place", (departure) => {
    const stage = new Stage();
    stage.connect(7n);
    stage.look();
    if (departure === "left") stage.close();
    else stage.die();
    stage.look();
    expect(stage.deeds).toEqual([]);
    stage.watch.reportDeparture();
    expect(stage.deeds).toEqual(["settle as the writer"]);
    expect(stage.writerPid).toBe(0n);
  });

  test("never once another one has come", () => {
    const stage = new Stage();
    stage.connect(7n);
    stage.look();
    stage.die();
    stage.look();
    stage.connect(8n);
    expect(stage.watch.reportDeparture()).toBe("died");
    expect(stage.deeds).toEqual([]);
    expect(stage.writerPid).toBe(8n);
  });

  test("not if the ring is whole: its place stays free for the next one, unless its pid is still there", () => {
    const stage = new Stage();
    stage.isRingWhole = true;
    stage.connect(7n);
    stage.look();
    stage.close();
    expect(stage.lookAndReport()).toBe("left");
    stage.watch.acceptNextWriter();
    expect(stage.claims).toBe(0);
    stage.connect(8n);
    stage.look();
    stage.die();
    expect(stage.lookAndReport()).toBe("died");
    expect(stage.writerPid).toBe(0n);
    stage.watch.acceptNextWriter();
    expect(stage.claims).toBe(2);
  });

  test("when a release says that it is due, in the place that nobody has", () => {
    const stage = new Stage();
    stage.connect(7n);
    stage.look();
    stage.die();
    stage.lookAndReport();
    stage.watch.settle();
    expect(stage.deeds).toEqual(["settle as the writer", "settle as the writer"]);
    // Another writer's own end is settled later, whether it lives or not.
    stage.connect(8n);
    stage.watch.settle();
    stage.die();
    stage.watch.settle();
    expect(stage.deeds).toHaveLength(2);
    expect(stage.writerPid).toBe(8n);
  });

  test("never on a mere change of the pid", () => {
    const stage = new Stage();
    stage.connect(7n);
    stage.look();
    stage.die();
    stage.connect(8n);
    expect(stage.lookAndReport()).toBeUndefined();
    expect(stage.deeds).toEqual([]);
  });
});

describe("metadata", () => {
  /** A stage whose first writer has sent metadata, has left, and has been reported. */
  function afterADeparture(): Stage {
    const stage = new Stage();
    stage.connect(7n);
    stage.metadataWrittenBytes = 20;
    stage.payloadWrittenCount = 3;
    stage.look();
    stage.close();
    stage.lookAndReport();
    stage.deeds.length = 0;
    return stage;
  }

  test("of a writer whose departure has been reported is cleared in the writer's place", () => {
    const stage = afterADeparture();
    expect(stage.metadataWrittenBytes).toBe(20);
    stage.watch.acceptNextWriter();
    expect(stage.deeds).toEqual(["clear metadata as the writer"]);
    expect(stage.writerPid).toBe(0n);
    stage.watch.acceptNextWriter();
    expect(stage.deeds).toHaveLength(1);
  });

  test.each<[string, (stage: Stage) => void]>([
    ["lives", () => {}],
    ["has died", (stage) => stage.die()],
    ["has left", (stage) => stage.close()],
    ["has left, and its token has not come", (stage) => stage.close({ token: false })],
  ])("of a next writer that %s stays", (_, depart) => {
    const stage = afterADeparture();
    stage.connect(8n);
    stage.metadataWrittenBytes = 30;
    stage.payloadWrittenCount++;
    depart(stage);
    stage.watch.acceptNextWriter();
    expect(stage.metadataWrittenBytes).toBe(30);
    expect(stage.look()).not.toBe("awaited");
  });

  test("that could not be cleared, since somebody was about to connect, is no trace of another writer", () => {
    const stage = afterADeparture();
    stage.connect(8n);
    stage.watch.acceptNextWriter();
    // It has found something in the ring, and gone again.
    stage.writerPid = 0n;
    expect(stage.look()).toBe("awaited");
  });
});

test("the pid of the living writer is told, and 0 otherwise", () => {
  const stage = new Stage();
  expect(stage.watch.livingPid()).toBe(0n);
  stage.connect(7n);
  expect(stage.watch.livingPid()).toBe(7n);
  stage.die();
  expect(stage.watch.livingPid()).toBe(0n);
});

test("a writer whose pid was asked for has been seen: one that overwrites the pid does not end it", () => {
  const stage = new Stage();
  stage.connect(7n);
  stage.look();
  stage.close();
  stage.isOurs = false;
  stage.hasLetGo = false;
  stage.connect(8n);
  expect(stage.watch.livingPid()).toBe(8n);
  stage.writerPid = 0n;
  expect(stage.look()).toBe("connected");
  expect(stage.watch.livingPid()).toBe(8n);
});
