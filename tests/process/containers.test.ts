// Containers that share /dev/shm: each subject and each fate once. All cases are in containers.slow.test.ts.

import { describe, test } from "bun:test";
import { canContain } from "../support/containers.ts";
import { fewCases, playCase } from "./matrix.ts";
import { V1 } from "./v1.ts";

const v1 = await V1.build();

describe.skipIf(!canContain)("judged right:", () => {
  test.each(fewCases.map((one) => [one.title, one] as const))("%s", async (_, one) => playCase(v1, one));
});
