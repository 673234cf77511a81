// Loaded before each test file (bunfig.toml): every test leaves the machine as it has found it.

import { afterEach, beforeEach, expect, setDefaultTimeout } from "bun:test";
import { rmSync } from "node:fs";
import { eventually, filesOfBuffers, openDescriptors, WAIT_LIMIT_MS } from "./buffers.ts";
import { childrenOf } from "./proc.ts";

// A test is ended by the limit of what it waits for, which says more than a limit of the whole test.
setDefaultTimeout(10 * WAIT_LIMIT_MS);

const takeStock = () => ({
  files: filesOfBuffers(),
  children: childrenOf(process.pid).map(String),
  descriptors: openDescriptors(),
});
let before = takeStock();

/** What is there now and was not before the test. */
function leftBehind() {
  const now = takeStock();
  const added = (kind: keyof typeof now) => now[kind].filter((one) => !before[kind].includes(one));
  return { files: added("files"), children: added("children"), descriptors: added("descriptors") };
}

beforeEach(() => {
  before = takeStock();
});

afterEach(async () => {
  // A pipe that has ended closes its descriptor a turn of the event loop later, some only when they are collected.
  // Another program's reader may be removing what a killed process has left.
  await eventually(() => {
    const { files, children, descriptors } = leftBehind();
    if (descriptors.length > 0) Bun.gc(true);
    return files.length + children.length + descriptors.length === 0;
  }).catch(() => {});
  const left = leftBehind();
  // One test that fails is enough: the next ones begin without its files.
  for (const path of left.files) rmSync(path, { force: true });
  expect(left).toEqual({ files: [], children: [], descriptors: [] });
});
