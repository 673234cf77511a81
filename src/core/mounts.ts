// The mounts of this process, as Linux lists them.

import { files } from "../runtime/files.ts";

/** A mounted file system. */
export interface Mount {
  /** As "major:minor". */
  readonly device: string;
  /** What of the file system is mounted: a path inside it. */
  readonly root: string;
  readonly path: string;
  readonly type: string;
  readonly options: ReadonlySet<string>;
}

/** The mounts in the text of /proc/self/mountinfo, a later one above those before it. `lines`: which ones. */
export function parseMounts(mountinfo: string, lines = /./): Mount[] {
  return mountinfo.split("\n").flatMap((line) => {
    if (!lines.test(line)) return [];
    const [own = "", superblock = ""] = line.split(" - ");
    const [, , device = "", root, path, options] = own.split(" ");
    if (root === undefined || path === undefined) return [];
    const [type = "", , superOptions] = superblock.split(" ");
    const all = [options, superOptions].flatMap((list) => list?.split(",") ?? []);
    return [{ device, root: unescaped(root), path: unescaped(path), type, options: new Set(all) }];
  });
}

/** The mount that a path is on; undefined if that cannot be found out. */
export function mountOf(path: string): Mount | undefined {
  try {
    const real = files().realpathSync(path);
    const mounts = parseMounts(files().readFileSync("/proc/self/mountinfo", "utf8"));
    const above = mounts
      .filter((mount) => isBelow(real, mount.path))
      .sort((one, other) => one.path.length - other.path.length);
    // Another mount may have covered one of them. Some file systems have a device for each part of them.
    const device = nameOfDevice(files().statSync(real).dev);
    return above.findLast((mount) => mount.device === device) ?? above.at(-1);
  } catch {
    return undefined;
  }
}

/** Whether a path is a directory or something in it. */
export function isBelow(path: string, directory: string): boolean {
  return directory === "/" || path === directory || path.startsWith(`${directory}/`);
}

function nameOfDevice(number: number): string {
  const [high, low] = [Math.floor(number / 2 ** 20), number % 2 ** 20];
  return `${(low >> 8) & 0xfff}:${high * 2 ** 8 + (low & 0xff)}`;
}

function unescaped(path: string): string {
  if (!path.includes("\\")) return path;
  return path.replace(/\\(\d{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)));
}
