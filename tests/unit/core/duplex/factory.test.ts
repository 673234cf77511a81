// The names of channels.

import { describe, expect, test } from "bun:test";
import { InvalidNameError } from "../../../../src/core/index.ts";
import { bytesOf, rejectionOf, thrownBy, uniqueName } from "../../../support/buffers.ts";
import { answerTo, echo, factory, serve } from "./served.ts";

describe("the name of a channel", () => {
  test("has up to 236 bytes, so that both buffers can have theirs", async () => {
    const longest = uniqueName().padEnd(236, "x");
    using served = serve(echo, { channel: longest });
    using client = served.connect();
    expect(await answerTo(client, bytesOf(1, 10))).toEqual(bytesOf(1, 10));
    for (const name of [`${longest}x`, "", "a/b", ".hidden"]) {
      expect(thrownBy(() => factory.createImmutableServer(name))).toBeInstanceOf(InvalidNameError);
      expect(thrownBy(() => factory.createMutableServer(name))).toBeInstanceOf(InvalidNameError);
      expect(thrownBy(() => factory.createClient(name))).toBeInstanceOf(InvalidNameError);
      expect(await rejectionOf(factory.connectClient(name))).toBeInstanceOf(InvalidNameError);
    }
  });
});
