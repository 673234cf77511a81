// The result of a benchmark as one HTML page without network access or other files.

import uPlot from "uplot/dist/uPlot.iife.min.js" with { type: "text" };
import uPlotStyle from "uplot/dist/uPlot.min.css" with { type: "text" };
import licence from "uplot/LICENSE" with { type: "text" };
import type { BenchDocument } from "../../schemas/bench.ts";
import { machineText } from "./machine.ts";
import template from "./page.html" with { type: "text" };
import script from "./page.js" with { type: "text" };
import { MEANINGS, NAMES, settingsText, sizeText, tablesOf, titleOf } from "./tables.ts";

/** Bun's types declare every HTML file as a page to serve; imported as text it is a string. */
const text = template as unknown as string;

/** The page, as HTML. */
export function pageOf(document: BenchDocument): string {
  const data = {
    machine: machineText(document.machine),
    settings: settingsText(document.settings),
    names: NAMES,
    tables: tablesOf(document).map((measurements) => ({
      title: titleOf(measurements[0]!),
      meaning: MEANINGS[measurements[0]!.work],
      measurements: measurements.map((measurement) => ({
        ...measurement,
        size: sizeText(measurement.frame_size),
        samples: undefined,
      })),
    })),
  };
  const parts: Readonly<Record<string, string>> = {
    "uplot-style": uPlotStyle,
    uplot: uPlot,
    licence,
    // The data must not end the script element that contains it.
    data: JSON.stringify(data).replaceAll("<", "\\u003c"),
    script,
  };
  return text.replace(/"?\/\* insert ([\w-]+) \*\/"?/g, (_, name: string) => parts[name] ?? "");
}
