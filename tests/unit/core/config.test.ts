import { describe, expect, test } from "bun:test";
import { checkTimeout, maxFrameSize, resolveConfig } from "../../../src/core/config.ts";

describe("a configuration", () => {
  test("has 4096 bytes of metadata and 256 MiB of payload by default", () => {
    expect(resolveConfig()).toEqual({ metadataSize: 4096, payloadSize: 268_435_456, mode: undefined });
  });

  test("is rounded up to multiples of 64", () => {
    expect(resolveConfig({ metadataSize: 1, payloadSize: 65 })).toMatchObject({
      metadataSize: 64,
      payloadSize: 128,
    });
    expect(resolveConfig({ metadataSize: 0, payloadSize: 64 })).toMatchObject({
      metadataSize: 0,
      payloadSize: 64,
    });
  });

  const bad = [
    { metadataSize: -1 },
    { metadataSize: 1.5 },
    { payloadSize: 0 },
    { payloadSize: 16 },
    { payloadSize: Number.NaN },
    { payloadSize: Number.POSITIVE_INFINITY },
    { payloadSize: 2 ** 60 },
    { payloadSize: "1024" as unknown as number },
    { mode: 0o1000 },
    { mode: -1 },
  ];
  for (const config of bad) {
    test(`${JSON.stringify(config)} is refused, naming what is wrong`, () => {
      expect(() => resolveConfig(config)).toThrow(new RegExp(`^\`${Object.keys(config)[0]}\` is `));
    });
  }
});

test("the largest frame leaves room for its header", () => {
  expect(maxFrameSize(1024)).toBe(1008);
});

test("a timeout is a number of milliseconds from 0 to Infinity", () => {
  for (const good of [0, 0.5, 1e9, Number.POSITIVE_INFINITY])
    expect(() => checkTimeout("t", good)).not.toThrow();
  for (const bad of [-1, Number.NaN, "5" as unknown as number])
    expect(() => checkTimeout("t", bad)).toThrow(RangeError);
});
