#!/usr/bin/env node
// The command line of the npm package. It runs under Bun; if Node has started this file, Bun is started.

const NEEDED = "1.4.5";

if (process.versions.bun === undefined) {
  const { spawn } = await import("node:child_process");
  const { fileURLToPath } = await import("node:url");
  const child = spawn(await findBun(), [fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: "inherit",
  });
  // A terminal sends these signals to Bun as well, and a second signal ends zerobuffer at once.
  const isOnTerminal = process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY;
  for (const signal of ["SIGINT", "SIGQUIT", "SIGHUP"])
    process.on(signal, () => isOnTerminal || child.kill(signal));
  process.on("SIGTERM", () => child.kill("SIGTERM"));
  child.on("error", (error) => {
    const why = error.code === "ENOENT" ? "there is no bun in PATH" : error.message;
    fail(`${why}. To install it: npm install --global bun`);
  });
  child.on("exit", (code, signal) => {
    if (signal === null) process.exit(code);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
} else if (Bun.semver.order(process.versions.bun, NEEDED) < 0) {
  fail(`this is Bun ${process.versions.bun}. To install it: bun upgrade`);
} else {
  await import("../lib/main.js");
}

/** On Windows npm puts a script for the shell into PATH, which would take arguments apart; the program is close to it. */
async function findBun() {
  if (process.platform !== "win32") return "bun";
  const { existsSync } = await import("node:fs");
  const { delimiter, join } = await import("node:path");
  const places = ["bun.exe", "../bun/bin/bun.exe", "node_modules/bun/bin/bun.exe"];
  const directories = (process.env.PATH ?? "").split(delimiter);
  return (
    directories.flatMap((directory) => places.map((place) => join(directory, place))).find(existsSync) ??
    "bun"
  );
}

function fail(why) {
  console.error(`zerobuffer needs Bun ${NEEDED} or newer, and ${why}`);
  process.exit(127);
}
