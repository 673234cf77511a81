// The mounts of this process, as Linux lists them.

import { files } from "../runtime/files.ts";

/** A mounted file system. */
interface Mount {
  readonly path: string;
  readonly options: ReadonlySet<string>;
}

/** The mount that a path is on. */
export function mountOf(path: string): Mount | undefined {
  const real = files().realpathSync(path);
  let found: Mount | undefined;
  for (const line of files().readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
    const [own = "", superblock = ""] = line.split(" - ");
    const [, , , , point, options = ""] = own.split(" ");
    if (point === undefined) continue;
    const mountPoint = point.replace(/\\(\d{3})/g, (_, octal) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    const isAbove = mountPoint === "/" || real === mountPoint || real.startsWith(`${mountPoint}/`);
    if (!isAbove || mountPoint.length < (found?.path.length ?? 0)) continue;
    const all = [options, superblock.split(" ")[2] ?? ""].flatMap((list) => list.split(","));
    found = { path: mountPoint, options: new Set(all) };
  }
  return found;
}
