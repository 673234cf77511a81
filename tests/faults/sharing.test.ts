// A side of shared payloads that is killed at any of its steps: nothing that others read is lost or changed, what it held is
// given back, and the next one starts at once.

import { beforeAll, expect, test } from "bun:test";
import { buildLibrary, faultBuild } from "../../scripts/build-native.ts";
import { type Frame, Reader, SharedWriter, Writer } from "../../src/core/index.ts";
import { bytesOf, eventually, fieldOf, uniqueName, WAIT_LIMIT_MS } from "../support/buffers.ts";
import { FREE_OFFSET, forwarder, RING, SIZE, sharingScenarios, target, targetOf } from "./sharing.ts";
import { killAtEachStep, Stage } from "./stage.ts";

beforeAll(() => buildLibrary(faultBuild));

for (const scenario of sharingScenarios) {
  test(`${scenario.name} may be killed at each step`, () => killAtEachStep(scenario));
}

test("a forwarder goes on where the system cannot wait for several semaphores", async () => {
  const always = "await_several:errno=38:0";
  await using stage = new Stage({ ...forwarder, always });
  await forwarder.play(stage);
  expect((await stage.child.end()).code).toBe(0);
  expect(stage.refusals.map(({ code }) => code)).toEqual(["READER_DEAD"]);
});

test("a reader that returns the space of an attachment has answered it", async () => {
  await using stage = new Stage(target, { step: "attachment_credit", action: "stop", nth: 1 });
  using source = new Reader(uniqueName(), RING, { allowPayloadSharing: true });
  using camera = new Writer(source.name);
  await stage.perform(async () => {
    await stage.ask({ do: "open", config: RING });
    using shared = new SharedWriter(stage.name, source, { writeTimeout: 0 });
    camera.writeFrame(bytesOf(1, SIZE));
    using frame = source.readFrame(0);
    expect(shared.forwardFrame(frame)).toBe("copied");
    await stage.ask({ do: "read", waits: true });
    await stage.child.stopped();
    const free = fieldOf(stage.name, FREE_OFFSET) ?? 0n;
    expect(shared.sharing).toBe("active");
    stage.child.resume();
    expect(await stage.hear()).toMatchObject({ event: "did", sequence: 1, isWhole: true });
    expect(fieldOf(stage.name, FREE_OFFSET)).toBeGreaterThan(free);
    await stage.ask({ do: "close" });
  });
});

test("a frame that is released in the middle of a collection is collected, though nothing else wakes the forwarder", async () => {
  const stopped = { step: "collect_drop", nth: 1, action: "stop" };
  await using stage = new Stage(forwarder, stopped);
  using target = new Reader(targetOf(stage.name), RING, { allowPayloadSharing: true });
  await stage.hear();
  await stage.ask({ do: "open", config: RING });
  using camera = new Writer(stage.name, { writeTimeout: 0 });
  const frames: Frame[] = [];
  for (let count = 1; count <= 3; count++) {
    camera.writeFrame(bytesOf(count, SIZE));
    await stage.ask({ do: "read" });
    frames.push(target.readFrame(WAIT_LIMIT_MS));
  }
  const [copied, first, second] = frames as [Frame, Frame, Frame];
  expect(frames.map(({ isShared }) => isShared)).toEqual([false, true, true]);
  copied.release();
  await stage.ask({ do: "sleep", timeoutMs: 2 * WAIT_LIMIT_MS, waits: true });
  await stage.hasWaiter("w");
  first.release();
  await stage.child.stopped();
  second.release();
  stage.child.resume();
  await eventually(() => fieldOf(stage.name, FREE_OFFSET) === BigInt(RING.payloadSize));
  camera.writeFrame(bytesOf(4, SIZE));
  expect(await stage.hear()).toMatchObject({ event: "did", code: 1 });
  await stage.child.succeed();
});

test("a reader that releases and leaves while the forwarder notes an earlier release is found to have left", async () => {
  await using stage = new Stage(forwarder, { step: "collect_drop", action: "stop", nth: 1 });
  using target = new Reader(targetOf(stage.name), RING, { allowPayloadSharing: true });
  await stage.perform(async () => {
    await stage.ask({ do: "open", config: RING });
    using camera = new Writer(stage.name);
    let count = 0;
    const pass = async () => {
      camera.writeFrame(bytesOf(++count, SIZE));
      await stage.ask({ do: "read" });
      return target.readFrame(WAIT_LIMIT_MS);
    };
    // It is copied: the answer comes with it.
    (await pass()).release();
    const [first, second] = [await pass(), await pass()];
    expect([first.isShared, second.isShared]).toEqual([true, true]);
    await stage.ask({ do: "read", waits: true });
    await stage.hasWaiter("w");
    first.release();
    await stage.child.stopped();
    second.release();
    target.close();
    camera.writeFrame(bytesOf(++count, SIZE));
    stage.child.resume();
    expect(await stage.hear()).toMatchObject({ event: "refused", code: "READER_DEAD" });
    await stage.ask({ do: "close" });
  });
});
