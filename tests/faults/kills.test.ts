// A process that is killed at any of its steps: its peer knows, loses nothing, and the next one starts at once.

import { beforeAll, setDefaultTimeout, test } from "bun:test";
import { buildLibrary, faultBuild } from "../../scripts/build-native.ts";
import { leavesNoProcessBehind } from "../support/processes.ts";
import { scenarios } from "./scenarios.ts";
import { killAtEachStep } from "./stage.ts";

leavesNoProcessBehind();
setDefaultTimeout(300_000);
beforeAll(() => buildLibrary(faultBuild));

for (const scenario of scenarios) {
  test(`${scenario.name} may be killed at each step`, () => killAtEachStep(scenario));
}
