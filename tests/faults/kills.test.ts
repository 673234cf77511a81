// A process that is killed at any of its steps: its peer knows, loses nothing, and the next one starts at once.

import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { buildLibrary, faultBuild } from "../../scripts/build-native.ts";
import { leavesNoProcessBehind } from "../support/processes.ts";
import { scenarios } from "./scenarios.ts";
import { momentsOf, Stage } from "./stage.ts";

leavesNoProcessBehind();
setDefaultTimeout(300_000);
beforeAll(() => buildLibrary(faultBuild));

/** How often a step is taken can depend on time: this share of a scenario's moments need not come again. */
const MAX_MISSED = 0.25;

for (const scenario of scenarios) {
  test(`${scenario.name} may be killed at each step`, async () => {
    const moments = await momentsOf(scenario);
    expect(moments.length).toBeGreaterThan(0);
    const missed: string[] = [];
    for (const moment of moments) {
      await using stage = new Stage(scenario, { ...moment, action: "kill" });
      try {
        await scenario.play(stage);
        const { code, signal } = await stage.child.end();
        if (signal !== "SIGKILL") {
          expect(code).toBe(0);
          missed.push(`${moment.step} ${moment.nth}`);
        }
      } catch (error) {
        throw new Error(`killed at ${moment.step}, the ${moment.nth}th time`, { cause: error });
      }
    }
    if (missed.length > MAX_MISSED * moments.length)
      throw new Error(`not reached again: ${missed.join(", ")}`);
  });
}
