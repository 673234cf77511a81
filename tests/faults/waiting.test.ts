// Asynchronous waits where the system offers no io_uring, or interrupts calls for one.

import { beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { buildLibrary, faultBuild, root } from "../../scripts/build-native.ts";
import { uniqueName } from "../support/buffers.ts";
import { Child } from "../support/process.ts";

beforeAll(() => buildLibrary(faultBuild));

const preload = join(import.meta.dir, "preload.ts");

test.each([
  "tests/unit/native/waiter.test.ts",
  "tests/unit/native/threads.test.ts",
  "tests/unit/core/hostile.test.ts",
  "tests/unit/core/buffer/shared-buffer.test.ts",
])("a thread waits without io_uring: %s", async (file) => {
  const command = [process.execPath, "test", "--preload", preload, `./${file}`];
  await using child = Child.program(command, {
    cwd: root,
    env: { ZB_FAULT: "uring_setup:errno=1:0" },
    stdin: "ignore",
  });
  const { code, stderr } = await child.end();
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining(" 0 fail") });
});

test("the memory of a buffer is allocated although the end of a wait interrupts that", async () => {
  const script = `
    import { Reader } from "./src/core/index.ts";
    new Reader("${uniqueName()}", { payloadSize: 65536 }).close();`;
  await using child = Child.program([process.execPath, "--preload", preload, "-e", script], {
    cwd: root,
    env: { ZB_FAULT: "create_allocate:errno=4,create_allocate:errno=4:3" },
    stdin: "ignore",
  });
  await child.succeed();
});
