// A process that is killed at any of its steps: its peer knows, loses nothing, and the next one starts at once.

import { beforeAll, test } from "bun:test";
import { buildLibrary, faultBuild } from "../../scripts/build-native.ts";
import { scenarios } from "./scenarios.ts";
import { killAtEachStep } from "./stage.ts";

beforeAll(() => buildLibrary(faultBuild));

for (const scenario of scenarios) {
  test(`${scenario.name} may be killed at each step`, () => killAtEachStep(scenario));
}
