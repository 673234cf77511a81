// The systems that executables are made for. Helper, executable, archive and check of a target all follow this table.

/** The operating systems that the helper has sources for. */
export type OperatingSystem = "linux" | "darwin" | "windows";

/** What one executable runs on. */
export interface Target {
  /** Also the name of the directory of its helper, and part of the names of its artifacts. */
  readonly name: string;
  /** As `bun build --compile --target` takes it. */
  readonly bunTarget: Bun.Build.CompileTarget;
  /** As `zig cc -target` takes it. The oldest system that the helper runs on is part of it. */
  readonly zigTarget: string;
  readonly os: OperatingSystem;
  /** As `process.arch` tells it. */
  readonly arch: "x64" | "arm64";
  /** The C library that Bun's executable needs; null where the system has only one. */
  readonly libc: "glibc" | "musl" | null;
  /** The name of the target whose helper it uses: its own, or that of one with older processors. */
  readonly helper: string;
  /** The name of the helper's file. */
  readonly helperFile: string;
}

/** The name of the helper's file. */
export const helperFiles: Readonly<Record<OperatingSystem, string>> = {
  linux: "libzerobuffer.so",
  darwin: "libzerobuffer.dylib",
  windows: "zerobuffer.dll",
};

function target(
  name: string,
  zigTarget: string,
  libc: Target["libc"] = null,
  { helper = name }: { helper?: string } = {},
): Target {
  const [os, arch] = name.split("-") as [OperatingSystem, Target["arch"]];
  const bunTarget = `bun-${name}` as Bun.Build.CompileTarget;
  return { name, bunTarget, zigTarget, os, arch, libc, helper, helperFile: helperFiles[os] };
}

export const targets: readonly Target[] = [
  target("linux-x64", "x86_64-linux-gnu.2.17", "glibc"),
  // zig's x86_64 has no instruction that the first x64 processors lack, so that the helper is the same.
  target("linux-x64-baseline", "x86_64-linux-gnu.2.17", "glibc", { helper: "linux-x64" }),
  target("linux-arm64", "aarch64-linux-gnu.2.17", "glibc"),
  target("linux-x64-musl", "x86_64-linux-musl", "musl"),
  target("linux-arm64-musl", "aarch64-linux-musl", "musl"),
  // 13.0 is the oldest macOS that Bun runs on.
  target("darwin-arm64", "aarch64-macos.13.0"),
  target("darwin-x64", "x86_64-macos.13.0"),
  target("windows-x64", "x86_64-windows-gnu"),
  target("windows-arm64", "aarch64-windows-gnu"),
];

/**
 * The target of a name.
 *
 * @throws if there is none; the message names those there are.
 */
export function targetNamed(name: string): Target {
  const found = targets.find((target) => target.name === name);
  if (found !== undefined) return found;
  throw new Error(
    `there is no target ${name}: use one of ${targets.map((target) => target.name).join(", ")}`,
  );
}
