// Containers that share /dev/shm: every subject, place and fate.

import { describe, test } from "bun:test";
import { canContain } from "../support/containers.ts";
import { allCases, playCase } from "./matrix.ts";
import { V1 } from "./v1.ts";

const v1 = await V1.build();

describe.skipIf(!canContain)("judged right:", () => {
  test.each(allCases.map((one) => [one.title, one] as const))("%s", async (_, one) => playCase(v1, one));
});
