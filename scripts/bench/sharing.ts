// Frames that are passed on without a copy, beside the same frames copied.

import {
  compare,
  framesText,
  type Measurement,
  medianAndRange,
  medians,
  nanosecondsText,
  sizeText,
  type Target,
  takeTurns,
} from "./contest.ts";
import { inBun, inC } from "./programs.ts";
import { DEFAULT_RING_SIZE, MIB, PICTURE_SIZE, RING_SIZE } from "./sizes.ts";

/** Two processors share what three to five processes do: single turns differ much. */
const TURNS = 20;

/** A relay that shares beside the copying one: frames that the writer copies, and the reader does not look at. */
export async function shared(frameSize: number, count: number, target: Target): Promise<Measurement> {
  const through = (relay: string) => () =>
    inBun(["take-1", relay, "write"], frameSize, count, DEFAULT_RING_SIZE);
  const turns = await takeTurns(
    { sharing: through("relay-shared"), copying: through("relay-copied") },
    TURNS,
  );
  return {
    title: `through a relay that shares, ${sizeText(frameSize)} frames, rings of ${sizeText(DEFAULT_RING_SIZE)}`,
    contenders: medians(turns, "framesPerSecond", framesText),
    comparisons: [compare(turns, "framesPerSecond", "sharing", "copying", target)],
    turns,
  };
}

/** One writer and three readers. */
export async function fannedOut(): Promise<Measurement> {
  const [frameSize, count] = [MIB, 5_000];
  const through = (relay: string, writer: string) => () =>
    inBun(["take-1", "take-2", "take-3", relay, writer], frameSize, count, RING_SIZE);
  const turns = await takeTurns(
    {
      "shared in place": through("fan-out-shared", "write-in-place"),
      "copied in place": through("fan-out-copied", "write-in-place"),
      shared: through("fan-out-shared", "write"),
      copied: through("fan-out-copied", "write"),
    },
    TURNS,
  );
  const figure = "framesPerSecond";
  return {
    title: `one writer and three readers, ${sizeText(frameSize)} frames, rings of ${sizeText(RING_SIZE)}`,
    contenders: medians(turns, figure, framesText),
    comparisons: [
      compare(turns, figure, "shared in place", "copied in place", { atLeast: 3 }),
      compare(turns, figure, "shared", "copied", { atLeast: 1.8 }),
    ],
    turns,
  };
}

/** A picture that is made in place to a relay and back. */
export async function sharedPictures(): Promise<Measurement> {
  const count = 300;
  const turns = await takeTurns(
    {
      shared: () => inBun(["ping-shared", "serve-shared"], PICTURE_SIZE, 10 * count, RING_SIZE),
      copied: () => inBun(["ping-in-place", "serve"], PICTURE_SIZE, count, RING_SIZE),
    },
    TURNS,
  );
  return {
    title: `round trip in place through a relay that shares, pictures of ${PICTURE_SIZE.toLocaleString("en-US")} bytes, p50`,
    contenders: medians(turns, "p50Ns", nanosecondsText),
    comparisons: [
      // The median itself, in microseconds.
      {
        of: "shared",
        to: "one microsecond",
        ...medianAndRange(turns.map((turn) => turn.shared!.p50Ns! / 1000)),
        atMost: 15,
      },
      compare(turns, "p50Ns", "shared", "copied"),
    ],
    turns,
  };
}

/** A picture to a server that changes it in place, and back. */
export async function requestInPlace(): Promise<Measurement> {
  const count = 2000;
  const turns = await takeTurns(
    {
      shared: () => inBun(["ask-shared", "serve-in-place"], PICTURE_SIZE, count, RING_SIZE),
      copied: () => inBun(["ask-copied", "serve-in-place"], PICTURE_SIZE, count, RING_SIZE),
      "Unix socket": () => inC("socket", PICTURE_SIZE, 300, RING_SIZE),
    },
    TURNS,
  );
  return {
    title: `request and response in place, pictures of ${PICTURE_SIZE.toLocaleString("en-US")} bytes, p50`,
    contenders: medians(turns, "p50Ns", nanosecondsText),
    comparisons: [
      compare(turns, "p50Ns", "shared", "Unix socket", { atMost: 1 / 50 }),
      compare(turns, "p50Ns", "shared", "copied", { atMost: 1 / 5 }),
    ],
    turns,
  };
}
