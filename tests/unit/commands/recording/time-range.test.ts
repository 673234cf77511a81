import { describe, expect, test } from "bun:test";
import { Moments, parseMoment } from "../../../../src/commands/recording/time-range.ts";

const S = 1_000_000_000n;

describe("a moment", () => {
  test.each([
    ["1500", { isOffset: true, ns: 1_500_000_000n }],
    ["90s", { isOffset: true, ns: 90n * S }],
    ["0.5ms", { isOffset: true, ns: 500_000n }],
    ["2026-11-26T08:30:00Z", { isOffset: false, ns: 1_795_681_800n * S }],
    ["2026-11-26T09:30:00.250+01:00", { isOffset: false, ns: 1_795_681_800_250_000_000n }],
    ["2026-11-26", { isOffset: false, ns: 1_795_651_200n * S }],
  ])("is %p", (text, moment) => {
    expect(parseMoment(text)).toEqual(moment);
  });

  test.each(["", "yesterday", "-5s", "2026-13-26", "2026-11-26T25:00:00Z", "8:30", "1h"])(
    "is not %p",
    (text) => {
      expect(parseMoment(text)).toBeUndefined();
    },
  );
});

describe("the frames between two moments", () => {
  const wanted = (moments: Moments, times: readonly bigint[]) =>
    times.filter((time) => !moments.excludes(time, time));

  test("are counted from the first one that is asked about", () => {
    const moments = new Moments(parseMoment("1s"), parseMoment("2s"));
    expect(wanted(moments, [100n * S, 100n * S + 1n, 101n * S, 102n * S, 102n * S + 1n])).toEqual([
      101n * S,
      102n * S,
    ]);
  });

  test("are those of a time", () => {
    const moments = new Moments(parseMoment("2026-11-26T08:30:00Z"), undefined);
    const at = 1_795_681_800n * S;
    expect(wanted(moments, [at - 1n, at, at + S])).toEqual([at, at + S]);
  });

  test("may be in a chunk that begins before and ends after", () => {
    const moments = new Moments(parseMoment("1s"), parseMoment("2s"));
    expect(moments.excludes(0n, S - 1n)).toBe(true);
    expect(moments.excludes(0n, 5n * S)).toBe(false);
    expect(moments.excludes(2n * S + 1n, 5n * S)).toBe(true);
  });

  test("are all without moments", () => {
    expect(new Moments(undefined, undefined).excludes(0n, 0n)).toBe(false);
  });
});
