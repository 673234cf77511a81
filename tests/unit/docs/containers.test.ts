// What docs/containers.md and examples/containers tell to type moves frames between containers, and what it shows is what the commands print. Docker is
// not needed: its lines are checked word by word, and what they run runs in pid namespaces.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../../scripts/build-native.ts";
import { bufferMade, uniqueName } from "../../support/buffers.ts";
import { Bundle, isRoot } from "../../support/bundle.ts";
import { canContain, container, containerWithoutTmp } from "../../support/containers.ts";
import { runScript } from "../../support/namespace.ts";
import { Child, program } from "../../support/process.ts";

const page = readFileSync(join(root, "docs", "containers.md"), "utf8");

/** The blocks of a language, each with the heading or the bold words before it. */
function blocksOf(language: string): { title: string; text: string }[] {
  const blocks = page.matchAll(new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)^\`\`\``, "gm"));
  return [...blocks].map(({ 1: text = "", index }) => {
    const titles = [...page.slice(0, index).matchAll(/^(?:#+ (.*)|\*\*(.*?)\.?\*\*.*)$/gm)];
    const [, heading, words] = titles.at(-1) ?? [];
    return { title: heading ?? words ?? "", text };
  });
}

// ---- the lines of docker -------------------------------------------------------------------------------------------

/** Options of `docker run` that are flags, and those that have a value after a blank or an equals sign. */
const FLAGS = ["-d", "--rm"];
const OPTIONS = ["--name", "--ipc", "--shm-size", "-v", "--user"];

/** What runs in a container, or, without options, on the host. */
interface Run {
  readonly args: readonly string[];
  readonly options?: ReadonlyMap<string, string>;
}

const lines = blocksOf("sh").flatMap(({ text }) => text.trim().split("\n"));

function parse(line: string): Run {
  const [first, second, ...words] = line.split(" ");
  if (first === "zerobuffer") return { args: [second ?? "", ...words] };
  expect([first, second]).toEqual(["docker", "run"]);
  const options = new Map<string, string>();
  while (words[0]?.startsWith("-")) {
    const [name = "", value] = (words.shift() as string).split("=");
    expect([...FLAGS, ...OPTIONS]).toContain(name);
    options.set(name, FLAGS.includes(name) ? "" : (value ?? words.shift() ?? ""));
  }
  expect(words.shift()).toBe("zb");
  return { args: words, options };
}

/** The volumes of the page that are in memory, with their sizes. */
function volumes(): string[] {
  const creations = lines.filter((line) => line.startsWith("docker volume create "));
  return creations.map((line) => {
    const { name } = /^docker volume create (?:--opt \w+=\S+ )+(?<name>\w+)$/.exec(line)?.groups ?? {};
    const given = Object.fromEntries(
      [...line.matchAll(/--opt (\w+)=(\S+)/g)].map(([, key, value]) => [key, value]),
    );
    expect(given).toEqual({ type: "tmpfs", device: "tmpfs", o: "size=1g,mode=1777" });
    return name ?? "";
  });
}

/** Whose shared memory a run has: two that share none cannot meet. */
function memoryOf({ options }: Run): string {
  if (options === undefined) return "host";
  const [, volume] = /^(.+):\/dev\/shm$/.exec(options.get("-v") ?? "") ?? [];
  if (volume !== undefined && volume !== "/dev/shm") {
    expect(volumes()).toContain(volume);
    return volume;
  }
  const ipc = options.get("--ipc");
  if (volume === "/dev/shm" || ipc === "host") return "host";
  if (ipc === "shareable") return `container:${options.get("--name")}`;
  return ipc ?? "none";
}

// ---- running what they run -----------------------------------------------------------------------------------------

const bundle = isRoot ? await Bundle.build() : undefined;

/** The words of a command with a buffer of the test's own. */
function own(args: readonly string[], name: string): string[] {
  const [command = "", buffer = "", ...rest] = args;
  expect(command).toMatch(/^(reader|writer)$/);
  return [command, `${name}-${buffer}`, ...rest, "--json-output"];
}

function start({ args, options }: Run, name: string, within: readonly string[]): Child {
  const words = own(args, name);
  const place = options === undefined ? [] : within;
  const user = options?.get("--user");
  if (user === undefined) return Child.cli(words, { within: place });
  const become = ["setpriv", `--reuid=${user}`, `--regid=${user}`, "--clear-groups"];
  return Child.program([...become, ...(bundle as Bundle).command(words)], { within: place });
}

/** Runs pairs of a reader and a writer, one after the other. All frames arrive. */
async function expectTransfer(runs: readonly Run[], within = container): Promise<void> {
  const name = uniqueName();
  expect(runs.length % 2).toBe(0);
  for (let i = 0; i < runs.length; i += 2) {
    const [reader, writer] = [runs[i] as Run, runs[i + 1] as Run];
    expect([reader.args[0], writer.args[0]]).toEqual(["reader", "writer"]);
    await using reading = start(reader, name, within);
    await bufferMade(`${name}-${reader.args[1]}`);
    await using writing = start(writer, name, within);
    const [read, written] = [await reading.report(), await writing.report()];
    expect({ code: written.code, errors: written.document.errors }).toEqual({ code: 0, errors: [] });
    expect({ code: read.code, errors: read.document.errors }).toEqual({ code: 0, errors: [] });
    expect(read.document.frames_read).toBe(1000);
    expect(written.document.frames_written).toBe(1000);
  }
}

describe.skipIf(!canContain)("what docs/containers.md tells to type", () => {
  for (const { title, text } of blocksOf("sh")) {
    const runs = () =>
      text
        .trim()
        .split("\n")
        .filter((line) => !line.startsWith("docker volume create "))
        .map(parse);

    test.skipIf(text.includes("--user") && !isRoot)(`moves frames: ${title}`, async () => {
      const all = runs();
      for (let i = 0; i < all.length; i += 2) {
        const [one, other] = [memoryOf(all[i] as Run), memoryOf(all[i + 1] as Run)];
        expect(one).not.toBe("none");
        expect(one).toBe(other);
      }
      await expectTransfer(all);
    });
  }

  test("also moves frames where each container has its own /tmp", async () => {
    const [first] = blocksOf("sh");
    await expectTransfer((first?.text ?? "").trim().split("\n").map(parse), containerWithoutTmp);
  });

  test("is said for each way to share memory", () => {
    const runs = lines.filter((line) => !line.startsWith("docker volume create ")).map(parse);
    expect(new Set(runs.map(memoryOf))).toEqual(new Set(["container:reader", "frames", "host"]));
  });
});

// ---- Compose and Kubernetes ----------------------------------------------------------------------------------------

/** Fails unless an object has exactly these keys, those with a question mark perhaps. */
function expectKeys(object: object, ...keys: string[]): void {
  const required = keys.filter((key) => !key.endsWith("?"));
  const allowed = keys.map((key) => key.replace("?", ""));
  expect(Object.keys(object)).toEqual(expect.arrayContaining(required));
  expect(allowed).toEqual(expect.arrayContaining(Object.keys(object)));
}

const runOf = (args: readonly string[]): Run => ({ args, options: new Map() });

/** The documents of a file of examples/containers. */
function documentsOf(file: string) {
  const text = readFileSync(join(root, "examples", "containers", file), "utf8");
  // biome-ignore lint/suspicious/noExplicitAny: documents whose keys the tests check
  return [Bun.YAML.parse(text)].flat() as any[];
}

describe("the files of examples/containers", () => {
  const [compose] = documentsOf("compose.yaml");
  const pods = ["pod.yaml", "pods-of-one-node.yaml"].flatMap(documentsOf);

  test("has services of Compose that share a volume in memory", () => {
    expectKeys(compose, "services", "volumes");
    expectKeys(compose.services, "reader", "writer");
    for (const service of Object.values<Record<string, unknown>>(compose.services)) {
      expectKeys(service, "image", "command", "volumes");
      expect(service).toMatchObject({ image: "zb", volumes: ["frames:/dev/shm"] });
    }
    const driver_opts = { type: "tmpfs", device: "tmpfs", o: "size=1g,mode=1777" };
    expect(compose.volumes).toEqual({ frames: { driver_opts } });
  });

  test.skipIf(!canContain)("has services of Compose whose frames arrive", async () => {
    const { reader, writer } = compose.services;
    await expectTransfer([reader, writer].map(({ command }) => runOf(command.split(" "))));
  });

  test("has Pods whose containers have the same memory", () => {
    expect(pods).toHaveLength(3);
    for (const pod of pods) {
      expectKeys(pod, "apiVersion", "kind", "metadata", "spec");
      expect(pod).toMatchObject({ apiVersion: "v1", kind: "Pod", metadata: { name: expect.any(String) } });
      expectKeys(pod.spec, "restartPolicy", "containers", "volumes?", "hostIPC?");
      const mounts = (pod.spec.volumes ?? []).map(({ name }: { name: string }) => ({
        name,
        mountPath: "/dev/shm",
      }));
      for (const one of pod.spec.containers) {
        expectKeys(one, "name", "image", "args", "resources?", "volumeMounts?");
        // Kubernetes refuses arguments that are numbers.
        expect(one.args.every((word: unknown) => typeof word === "string")).toBe(true);
        expect(one.volumeMounts ?? []).toEqual(mounts);
      }
      const volumes = [{ name: "frames", emptyDir: { medium: "Memory", sizeLimit: "1Gi" } }];
      expect(pod.spec.hostIPC === true ? pod.spec.volumes : undefined).toBeUndefined();
      if (pod.spec.hostIPC !== true) expect(pod.spec.volumes).toEqual(volumes);
    }
  });

  test.skipIf(!canContain)("has Pods whose frames arrive", async () => {
    const args = pods.flatMap(({ spec }) => spec.containers.map((one: { args: string[] }) => one.args));
    await expectTransfer(args.map(runOf));
  });
});

// ---- what it shows -------------------------------------------------------------------------------------------------

/** Lines without what differs from machine to machine: its numbers, and the widths of columns. */
function shapeOf(text: string, name: string): string[] {
  return text
    .replaceAll(name, "cam")
    .split("\n")
    .map((line) =>
      line
        .replaceAll(/\d+/g, "1")

        .replaceAll(/ +/g, " ")
        .trim(),
    )
    .filter((line) => line !== "");
}

/** What a console block shows below a command. */
function shownBy(command: string, where = ""): string[] {
  const block = blocksOf("console").find(
    ({ text }) => text.startsWith(`$ ${command}`) && text.includes(where),
  );
  if (block === undefined) throw new Error(`the page does not show ${command}`);
  return shapeOf(block.text.slice(block.text.indexOf("\n")), "cam");
}

describe.skipIf(!canContain)("what docs/containers.md shows", () => {
  /** A reader outside, and a writer in a container, whose ring is empty when it is looked at. */
  async function withBuffer(act: (name: string) => Promise<void>): Promise<void> {
    const name = uniqueName();
    await using reader = Child.cli(`reader ${name} --buffer-size 1MiB --timeout-ms 0`);
    await bufferMade(name);
    await using writer = Child.cli(`writer ${name} -s 1000 --rate 30 -n 0 --timeout-ms 0 --verbose`, {
      within: container,
    });
    await writer.logged("Connected");
    await act(name);
    writer.kill("SIGTERM");
    await reader.succeed();
  }

  /** The head of the table of list, and the row of a buffer. */
  async function listed(name: string, within: readonly string[]): Promise<string[]> {
    // Not as process 1: that is the number of the writer.
    await using list = Child.program(["sh", "-c", '"$@"; exit $?', "sh", ...program, "list"], { within });
    const { stdout } = await list.succeed();
    const [head, ...rows] = stdout.toString().split("\n");
    return shapeOf([head, ...rows.filter((row) => row.startsWith(`${name} `))].join("\n"), name);
  }

  /** The states and the participants, without how far the frames are and how a process here was started. */
  const withoutFigures = (rows: string[]) =>
    rows.map((row) =>
      row.replace(/1\.1 MiB .* % (?:\S+ ){3}/, "FIGURES ").replace(/(\(host pid 1\) 1) .*/, "$1 COMMAND"),
    );

  test("is what list prints on the host", () =>
    withBuffer(async (name) => {
      const shown = withoutFigures(shownBy("zerobuffer list", "on the host"));
      expect(withoutFigures(await listed(name, []))).toEqual(shown);
    }));

  test("is what list prints in another container", () =>
    withBuffer(async (name) => {
      const shown = withoutFigures(shownBy("zerobuffer list", "in a third container"));
      expect(withoutFigures(await listed(name, container))).toEqual(shown);
    }));

  for (const [where, within] of [
    ["the host", []],
    ["another container", container],
  ] as const) {
    test(`is what clean says on ${where}`, () =>
      withBuffer(async (name) => {
        await using clean = Child.cli(["clean", name], { within });
        const { code, stderr } = await clean.exited();
        expect(code).toBe(1);
        const [first = ""] = shapeOf(stderr, name);
        expect([first]).toEqual(shownBy("zerobuffer clean"));
      }));
  }

  test.skipIf(!isRoot)("is what doctor says about a small /dev/shm", async () => {
    const script = [
      // What Docker makes in a container, and what it takes away from it.
      "mount -t tmpfs tmpfs /run && touch /run/.containerenv",
      `setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin ${program.join(" ")} doctor`,
    ];
    const { stdout } = await runScript(script.join("\n"), "64m");
    const shown = shapeOf(stdout, "cam");
    for (const line of shownBy("docker run --rm zb doctor")) expect(shown).toContain(line);
  });
});
