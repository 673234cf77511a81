#!/usr/bin/env node
// The command line of the npm package. It runs under Bun; if Node has started this file, Bun is started.

const NEEDED = "1.4.5";
const main = new URL("../lib/main.js", import.meta.url);

if (process.versions.bun === undefined) {
  const { spawn } = await import("node:child_process");
  const { fileURLToPath } = await import("node:url");
  const child = spawn("bun", [fileURLToPath(main), ...process.argv.slice(2)], { stdio: "inherit" });
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
} else if (Bun.semver.order(Bun.version, NEEDED) < 0) {
  fail(`this is Bun ${Bun.version}. To install it: bun upgrade`);
} else {
  await import(main.href);
}

function fail(why) {
  console.error(`zerobuffer needs Bun ${NEEDED} or newer, and ${why}`);
  process.exit(127);
}
