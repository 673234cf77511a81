// Turns a program in TypeScript into an executable.

import { commitOf } from "../src/cli/checkout.ts";
import { bundlePage } from "../src/commands/view/bundle.ts";
import { embedHelper, hostSystem } from "./build-native.ts";
import { type Target, targets } from "./targets.ts";

/** The target that this machine is. */
export const host = hostTarget();

function hostTarget(): Target {
  const report = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
  const libc =
    hostSystem !== "linux" ? null : report.header.glibcVersionRuntime === undefined ? "musl" : "glibc";
  const found = targets.find(
    (target) => target.os === hostSystem && target.arch === process.arch && target.libc === libc,
  );
  if (found === undefined) throw new Error(`there is no target for ${process.platform}-${process.arch}`);
  return found;
}

/**
 * Builds one from its entry point: for a target, with its helper, or with the Bun and the helper of this machine.
 *
 * @throws if it cannot be bundled, or if the helper is not built.
 */
export async function buildExecutable(entrypoint: string, output: string, target?: Target): Promise<void> {
  await Bun.build({
    entrypoints: [entrypoint],
    // The format is needed: with bytecode in any other the executable builds, and dies when it starts.
    format: "esm",
    bytecode: true,
    minify: true,
    // A command that starts reads its own code and not that of the others.
    splitting: true,
    define: {
      BUILD_COMMIT: JSON.stringify(commitOf()),
      BUILD_TARGET: JSON.stringify((target ?? host).name),
      ...(await definePage()),
    },
    ...(target !== undefined && { plugins: [embedHelper(target)] }),
    // The working directory's .env and bunfig.toml belong to somebody else.
    compile: {
      outfile: output,
      ...(target !== undefined && { target: target.bunTarget }),
      ...{ autoloadDotenv: false, autoloadBunfig: false },
    },
  });
}

/** For `Bun.build`: the page of view, inside of what is built. */
export async function definePage(): Promise<Record<string, string>> {
  return { BUILD_PAGE: JSON.stringify(JSON.stringify(await bundlePage())) };
}
