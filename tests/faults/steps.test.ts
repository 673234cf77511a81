// The build with fault points: its steps all have a case, and nothing of it is in the helper that is shipped.

import { beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { buildLibrary, faultBuild, libraryPath } from "../../scripts/build-native.ts";
import { channelScenarios } from "./channels.ts";
import { scenarios } from "./scenarios.ts";
import { sharingScenarios } from "./sharing.ts";
import { momentsOf, Stage } from "./stage.ts";
import { findSteps } from "./steps.ts";

beforeAll(() => buildLibrary(faultBuild));

const steps = findSteps();

/** Whether the file holds the name as a whole word of its strings and symbols. */
function holds(path: string, word: string): boolean {
  return new RegExp(`(?<![A-Za-z0-9_])${word}(?![A-Za-z0-9_])`).test(readFileSync(path, "latin1"));
}

describe("the fault points", () => {
  test("have names of their own", () => {
    const names = steps.map(({ name }) => name);
    expect(names.length).toBeGreaterThan(50);
    expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
  });

  test("are all reached by the scenarios", async () => {
    const reached = new Set<string>();
    const missing = () => steps.map(({ name }) => name).filter((name) => !reached.has(name));
    // A reader of another program may sweep away what a scenario has laid out: not every time.
    for (let tries = 0; tries < 3 && missing().length > 0; tries++)
      for (const scenario of [...scenarios, ...channelScenarios, ...sharingScenarios])
        for (const { step } of await momentsOf(scenario)) reached.add(step);
    expect(missing()).toEqual([]);
  });

  test("are in the test build, and leave no trace in the helper that is shipped", () => {
    for (const word of ["zb_fault", "ZB_FAULT", "ZB_FAULT_TRACE"])
      expect(holds(libraryPath, word)).toBe(false);
    const testBuild = readFileSync(faultBuild.path, "latin1");
    for (const { name } of steps) {
      expect({ name, inTestBuild: testBuild.includes(name) }).toEqual({ name, inTestBuild: true });
      expect({ name, shipped: holds(libraryPath, name) }).toEqual({ name, shipped: false });
    }
  });

  test("refuse an order that they cannot obey", async () => {
    await using stage = new Stage(scenarios[0]!, { step: "create_link", action: "explode", nth: 1 });
    await stage.child.receive("ready");
    const { code, stderr } = await stage.child.send({ do: "open" }).end();
    expect(code).toBe(64);
    expect(stderr).toContain("ZB_FAULT=create_link:explode:1 is not step:action[:nth]");
  });
});
