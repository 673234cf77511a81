// A side of shared payloads that is killed at any of its steps: nothing that others read is lost or changed, what it held is
// given back, and the next one starts at once.

import { beforeAll, expect, test } from "bun:test";
import { buildLibrary, faultBuild } from "../../scripts/build-native.ts";
import { Reader, Writer } from "../../src/core/index.ts";
import { bytesOf, eventually, WAIT_LIMIT_MS } from "../support/buffers.ts";
import { stateOf } from "../support/proc.ts";
import { forwarder, RING, SIZE, sharingScenarios, targetOf } from "./sharing.ts";
import { killAtEachStep, Stage } from "./stage.ts";

beforeAll(() => buildLibrary(faultBuild));

for (const scenario of sharingScenarios) {
  test(`${scenario.name} may be killed at each step`, () => killAtEachStep(scenario));
}

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
    await eventually(() => stateOf(stage.child.pid) === "T");
    second.release();
    target.close();
    camera.writeFrame(bytesOf(++count, SIZE));
    stage.child.resume();
    expect(await stage.hear()).toMatchObject({ event: "refused", code: "READER_DEAD" });
    await stage.ask({ do: "close" });
  });
});
