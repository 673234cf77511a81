// Text in aligned columns.

import type { Style } from "./terminal.ts";

/** One field of a table. */
export interface Cell {
  readonly text: string;
  readonly paint?: keyof Style;
  /** Numbers are aligned to the right. */
  readonly alignment?: "right";
}

/** The lines of a table; the last column is not padded. */
export function tableLines(rows: readonly (readonly Cell[])[], style: Style): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [column, { text }] of row.entries()) {
      widths[column] = Math.max(widths[column] ?? 0, Bun.stringWidth(text));
    }
  }
  return rows.map((row) =>
    row
      .map(({ text, paint, alignment }, column) => {
        const padding = " ".repeat((widths[column] ?? 0) - Bun.stringWidth(text));
        const painted = paint === undefined ? text : style[paint](text);
        if (alignment === "right") return padding + painted;
        return column === row.length - 1 ? painted : painted + padding;
      })
      .join("  "),
  );
}
