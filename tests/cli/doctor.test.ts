import { describe, expect, test } from "bun:test";
import { copyFileSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Bundle, isRoot } from "../support/bundle.ts";
import { canServe, NatsServer } from "../support/nats.ts";
import { Child, run, runJson } from "../support/process.ts";
import { expectValid } from "../support/schemas.ts";

const bundle = await Bundle.build();

describe("doctor", () => {
  const checkOf = (document: { checks: { check: string }[] }, name: string) =>
    document.checks.find(({ check }) => check === name);

  test("looks at everything, and finds the helper loaded", async () => {
    const { code, document } = await runJson("doctor");
    expectValid("doctor", document);
    expect(code).toBe(document.error === undefined ? 0 : 1);
    expect(checkOf(document, "helper")).toMatchObject({ status: "ok", remedy: null });
    expect(checkOf(document, "libc")).toMatchObject({
      status: "ok",
      message: expect.stringMatching(/glibc \d|musl/),
    });
    const { stdout } = await run("doctor");
    expect(stdout.toString().split("\n").length).toBeGreaterThan(document.checks.length);
  });

  test("works where the helper cannot be loaded, and says so", async () => {
    const broken = join(bundle.directory, "broken");
    mkdirSync(broken);
    for (const file of readdirSync(bundle.directory)) {
      if (/\.(js|so)$/.test(file)) copyFileSync(join(bundle.directory, file), join(broken, file));
      if (file.endsWith(".so")) writeFileSync(join(broken, file), "no library");
    }
    await using doctor = Child.program(bundle.command(["doctor", "--json-output"], broken));
    const { code, document } = await doctor.report();
    expect([code, expectValid("doctor", document).error.code]).toEqual([1, "PERMISSION_DENIED"]);
    expect(checkOf(document, "helper")).toMatchObject({ status: "error", remedy: null });
    for (const args of [["list"], ["inspect", "cam"], ["clean"]]) {
      await using other = Child.program(bundle.command([...args, "--json-output"], broken));
      expect((await other.report()).document.error.code).toBe("PERMISSION_DENIED");
    }
  });

  test("finds a temp directory that is missing, and few open files", async () => {
    const missing = join(bundle.directory, "no such directory");
    await using doctor = Child.program(bundle.command(["doctor", "--json-output"]), {
      shell: 'ulimit -n 60; exec "$@"',
      env: { TMPDIR: missing },
    });
    const { document } = await doctor.report();
    expect(checkOf(document, "temp directory")).toMatchObject({
      status: "warning",
      message: `${missing} is missing: the helper is unpacked to another directory`,
      remedy: "export TMPDIR=/tmp",
    });
    expect(checkOf(document, "open files")).toMatchObject({ status: "warning", message: "at most 60" });
  });

  test.skipIf(!isRoot)(
    "finds small shared memory, hostile lock directories and a noexec temp directory",
    async () => {
      const script =
        "mount -t tmpfs -o size=900k tmpfs /dev/shm && mount -t tmpfs -o noexec tmpfs /mnt && " +
        'mount -t tmpfs -o mode=755,uid=1 tmpfs /tmp/zerobuffer && exec "$@"';
      await using doctor = Child.program(
        ["unshare", "--mount", "sh", "-c", script, "sh", ...bundle.command(["doctor", "--json-output"])],
        { env: { TMPDIR: "/mnt" } },
      );
      const { code, document } = await doctor.report();
      expect([code, document.error.code]).toEqual([1, "RESOURCE_EXHAUSTED"]);
      expect(checkOf(document, "shared memory")).toMatchObject({
        status: "error",
        remedy: expect.stringMatching(/size=/),
      });
      expect(checkOf(document, "lock directory")).toMatchObject({
        status: "error",
        remedy: "chmod 1777 /tmp/zerobuffer",
      });
      expect(checkOf(document, "temp directory")).toMatchObject({
        status: "warning",
        remedy: "export TMPDIR=/tmp",
      });
    },
  );

  test.skipIf(!canServe)(
    "looks at a NATS server: whether it answers, its max_payload, and JetStream",
    async () => {
      await using server = await NatsServer.start({ config: "max_payload: 2MB" });
      const { code, document } = await runJson("doctor", "--server", server.url);
      expectValid("doctor", document);
      expect(code).toBe(0);
      expect(checkOf(document, "NATS server")).toMatchObject({
        status: "ok",
        message: expect.stringMatching(
          / answers in \d+ ms: version 2\.\d.*, messages of up to 2,097,152 bytes/,
        ),
      });
      expect(checkOf(document, "JetStream")).toMatchObject({
        status: "ok",
        message: expect.stringContaining("no limit for this account"),
      });

      const account = "accounts { A { users [ { user: a, password: hunter2 } ] } }";
      await using without = await NatsServer.start({ config: account });
      const args = ["doctor", "--json-output", "--user", "a"];
      await using doctor = Child.cli(args, { env: { NATS_URL: without.url, NATS_PASSWORD: "hunter2" } });
      const report = await doctor.report();
      expect(report.code).toBe(0);
      expect(checkOf(report.document, "JetStream")).toMatchObject({
        status: "warning",
        remedy: "nats-server -js",
      });

      const refused = await runJson("doctor", "--server", without.url);
      expect(refused.code).toBe(1);
      expect(refused.document.error.code).toBe("PERMISSION_DENIED");
      expect(checkOf(refused.document, "NATS server")).toMatchObject({ status: "error" });
      const nobody = await runJson("doctor", "--server", "nats://127.0.0.1:1");
      expect(nobody.code).toBe(1);
      expect(expectValid("doctor", nobody.document).error.code).toBe("PEER_TIMEOUT");
    },
  );
});
