// How the npm package finds the helper: it has one for each system, and the program that runs takes its own.

import type { Target } from "../targets.ts";

/** Where the package has the helper of a target. */
export function helperPlace({ helper, helperFile }: Target): string {
  return `helpers/${helper}/${helperFile}`;
}

/**
 * For `Bun.build`: the path of the helper is found when the program runs. The files are imported, so that an executable that
 * somebody builds with this package gets them, too.
 *
 * @param targets the systems that the package has helpers for.
 */
export function chooseHelper(targets: readonly Target[]): Bun.BunPlugin {
  const contents = [
    ...targets.map(
      (target, at) => `import helper${at} from "../${helperPlace(target)}" with { type: "file" };`,
    ),
    `const helpers = {${targets.map(({ helper }, at) => `"${helper}": helper${at}`).join(", ")}};`,
    choice,
  ].join("\n");
  return {
    name: "helper of the machine",
    setup(build) {
      build.onResolve({ filter: /\/dist\/native\/libzerobuffer\.so$/ }, () => ({
        path: "helper",
        namespace: "zerobuffer",
      }));
      build.onLoad({ filter: /^helper$/, namespace: "zerobuffer" }, () => ({ contents, loader: "js" }));
    },
  };
}

/** Code of the package. A program that is bundled without being an executable has paths relative to itself. */
const choice = `
const system = process.platform === "win32" ? "windows" : process.platform;
const isMusl = system === "linux" && process.report.getReport().header.glibcVersionRuntime === undefined;
const name = system + "-" + process.arch + (isMusl ? "-musl" : "");
const path = helpers[name] ?? "for " + name + ", which this package does not have";
export default path.startsWith("./") ? import.meta.dir + path.slice(1) : path;
`;
