// Calls into the system that fail: whichever it is, the error is typed, nothing leaks, and the next one works.

import { beforeAll, describe, expect, test } from "bun:test";
import { constants } from "node:os";
import { buildLibrary, faultBuild } from "../../scripts/build-native.ts";
import { scenarios } from "./scenarios.ts";
import { sharingScenarios } from "./sharing.ts";
import { momentsOf, Stage } from "./stage.ts";
import { findSteps } from "./steps.ts";

beforeAll(() => buildLibrary(faultBuild));

const { ENOMEM, EMFILE, ENOSPC, EACCES, EAGAIN, EFAULT, EINTR, EINVAL, ENOSYS, EPERM } = constants.errno;
/** What the kernel tells of these calls besides having no memory and no descriptors. */
const more: Readonly<Record<string, readonly number[]>> = {
  create_unnamed: [ENOSPC, EACCES],
  create_allocate: [ENOSPC, EINTR],
  create_link: [ENOSPC, EACCES],
  open_handle: [EACCES],
  open_existing: [EACCES, EAGAIN, EINTR],
  role_lock: [EAGAIN, EINVAL],
  role_probe: [EINVAL],
  lease_signal: [EINVAL],
  lease_ask: [EACCES, EAGAIN, EINVAL],
  lock_open: [EACCES],
  lock_create: [ENOSPC, EACCES],
  await_sleep: [EINTR, EFAULT],
  await_several: [EINTR, EFAULT, ENOSYS, EPERM],
  uring_setup: [EPERM, ENOSYS],
  uring_submit: [EAGAIN],
  shared_lock: [EAGAIN, EINVAL],
};

const canFail = new Set(findSteps().flatMap(({ name, canFail }) => (canFail ? [name] : [])));

describe("when a call fails, whichever it is", () => {
  const all = [...scenarios, ...sharingScenarios];
  test.each(all.map((scenario) => [scenario.name, scenario] as const))("%s", async (_, scenario) => {
    const moments = (await momentsOf(scenario)).filter(({ step }) => canFail.has(step));
    let runs = 0;
    for (const moment of moments) {
      for (const errno of [ENOMEM, EMFILE, ...(more[moment.step] ?? [])]) {
        await using stage = new Stage(scenario, { ...moment, action: `errno=${errno}` });
        try {
          await scenario.play(stage);
          expect((await stage.child.end()).code).toBe(0);
          for (const { code, leaked, message } of stage.refusals) {
            expect({ code, message, leaked }).toEqual({
              code: expect.not.stringMatching("INTERNAL"),
              message,
              leaked: 0,
            });
          }
          runs++;
        } catch (error) {
          const what = `${moment.step}, the ${moment.nth}th time, with errno ${errno}`;
          throw new Error(`${what}: ${JSON.stringify(stage.refusals)}`, { cause: error });
        }
      }
    }
    console.log(`${moments.length} calls, ${runs} failures`);
  });
});
