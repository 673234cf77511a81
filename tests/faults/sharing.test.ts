// A side of shared payloads that is killed at any of its steps: nothing that others read is lost or changed, what it held is
// given back, and the next one starts at once.

import { beforeAll, test } from "bun:test";
import { buildLibrary, faultBuild } from "../../scripts/build-native.ts";
import { sharingScenarios } from "./sharing.ts";
import { killAtEachStep } from "./stage.ts";

beforeAll(() => buildLibrary(faultBuild));

for (const scenario of sharingScenarios) {
  test(`${scenario.name} may be killed at each step`, () => killAtEachStep(scenario));
}
