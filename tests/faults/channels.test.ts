// A side of a duplex channel, or a relay, that is killed at any of its steps: its peers know, nothing is mixed up, and the
// next one starts at once.

import { beforeAll, test } from "bun:test";
import { buildLibrary, faultBuild } from "../../scripts/build-native.ts";
import { channelScenarios } from "./channels.ts";
import { killAtEachStep } from "./stage.ts";

beforeAll(() => buildLibrary(faultBuild));

/** Most of the time is spent on waiting for a death to be noticed. */
const LANES = 4;

for (const scenario of channelScenarios) {
  test(`${scenario.name} may be killed at each step`, () => killAtEachStep(scenario, LANES));
}
