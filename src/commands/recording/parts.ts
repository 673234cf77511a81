// The names of the files of a recording.

import { paths } from "../../runtime/files.ts";

/** The path of a file of a recording: the first one is number 0. */
export function pathOfPart(path: string, part: number): string {
  if (part === 0 || path === "-") return path;
  const { basename, dirname, extname, join } = paths();
  const suffix = extname(path);
  return join(dirname(path), `${basename(path, suffix)}-${`${part}`.padStart(4, "0")}${suffix}`);
}
