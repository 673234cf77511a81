import { describe, expect, test } from "bun:test";
import { Topics } from "../../../../src/commands/recording/topics.ts";
import { thrownBy } from "../../../support/buffers.ts";

/** Where topics go, in this order of coming. */
const targets = (topics: Topics, ...names: string[]) => names.map((name) => topics.bufferOf(name));

describe("topics go", () => {
  test("to the buffers of their names", () => {
    expect(targets(new Topics([], []), "a", "b", "a")).toEqual(["a", "b", "a"]);
  });

  test("to the buffers that are named, in the order in which they come", () => {
    expect(targets(new Topics([], ["x", "y"]), "a", "b", "a")).toEqual(["x", "y", "x"]);
  });

  test("to the buffers in the order of --topic, and others nowhere", () => {
    expect(targets(new Topics(["b", "a"], ["x", "y"]), "a", "c", "b")).toEqual(["y", undefined, "x"]);
    expect(targets(new Topics(["b"], []), "a", "b")).toEqual([undefined, "b"]);
  });
});

describe("it is refused", () => {
  test("that there are more topics than buffers", () => {
    const topics = new Topics([], ["x"]);
    topics.bufferOf("/camera");
    expect(thrownBy(() => topics.bufferOf("/lidar"))).toMatchObject({
      code: "USAGE",
      message: 'The recording has more topics than the 1 buffer named: "/camera", "/lidar".',
    });
  });

  test("that a topic is missing, with those that are there", () => {
    const topics = new Topics(["c"], []);
    targets(topics, "a", "b\n");
    expect(thrownBy(() => topics.checkAllSeen("f.mcap"))).toMatchObject({
      code: "USAGE",
      message: 'There is no topic "c" in f.mcap.',
      hint: 'It has "a", "b?".',
    });
  });

  test("that a buffer has no topic", () => {
    const topics = new Topics([], ["x", "y"]);
    topics.bufferOf("a");
    expect(thrownBy(() => topics.checkAllSeen("f.mcap"))).toMatchObject({
      code: "USAGE",
      message: "f.mcap has 1 topic, and 2 buffers are named.",
    });
  });

  test("that --topic and the buffers differ in number", () => {
    expect(thrownBy(() => new Topics(["a", "b"], ["x"]))).toMatchObject({ code: "USAGE" });
  });
});
