// What a terminal shows, as an SVG.

import { type IBufferCell, Terminal } from "@xterm/headless";

/** The size of a character, and the room around them all, in pixels. */
const [WIDTH, HEIGHT, MARGIN] = [8.4, 18, 12];

/** The terminal's own colours, and those that zerobuffer uses, by their numbers. */
const [BACKGROUND, FOREGROUND] = ["#1b1f27", "#d8dee9"];
const COLOURS: Readonly<Record<number, string>> = { 1: "#ef6b73", 2: "#8fc379", 3: "#e5c07b" };

/** Characters that fill the part of their cell from the bottom up, in eighths. */
const BARS = " ▁▂▃▄▅▆▇█";

/** Characters of one kind that stand side by side. */
interface Run {
  text: string;
  readonly column: number;
  readonly style: string;
}

/**
 * Draws a terminal of this size.
 *
 * @param output what was printed to it.
 * @param title what the picture shows, for those who cannot see it.
 */
export async function svgOf(
  output: string,
  { columns, rows }: { readonly columns: number; readonly rows: number },
  title: string,
): Promise<string> {
  const terminal = new Terminal({ cols: columns, rows, allowProposedApi: true, convertEol: true });
  await new Promise<void>((resolve) => terminal.write(output, resolve));
  const [width, height] = [columns * WIDTH + 2 * MARGIN, rows * HEIGHT + 2 * MARGIN];
  const shapes = Array.from({ length: rows }, (_, row) => shapesOf(terminal, row)).flat();
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${width}" height="${height}" rx="8" fill="${BACKGROUND}"/>`,
    `<g font-family="ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="14" xml:space="preserve">`,
    ...shapes,
    "</g>",
    "</svg>",
    "",
  ].join("\n");
}

function shapesOf(terminal: Terminal, row: number): string[] {
  const line = terminal.buffer.active.getLine(row);
  const runs: Run[] = [];
  const bars: string[] = [];
  for (let column = 0; column < terminal.cols; column++) {
    const cell = line?.getCell(column);
    const text = cell?.getChars() || " ";
    const style = cell === undefined ? "" : styleOf(cell);
    const bar = barOf(text, column, row, style);
    if (bar !== undefined) bars.push(bar);
    const shown = bar === undefined ? text : " ";
    const last = runs.at(-1);
    if (last?.style === style) last.text += shown;
    else runs.push({ text: shown, column, style });
  }
  const y = MARGIN + row * HEIGHT + 13;
  const texts = runs.flatMap(({ text, column, style }) => {
    const shown = text.trim();
    if (shown === "") return [];
    const x = rounded(MARGIN + (column + text.indexOf(shown)) * WIDTH);
    const length = rounded(shown.length * WIDTH);
    return [`<text x="${x}" y="${y}" textLength="${length}"${style}>${escaped(shown)}</text>`];
  });
  return [...bars, ...texts];
}

/** Bars are drawn, because fonts leave gaps between them. */
function barOf(text: string, column: number, row: number, style: string): string | undefined {
  const eighths = text === "░" ? 8 : text === " " ? -1 : BARS.indexOf(text);
  if (eighths < 1) return undefined;
  const height = (eighths / 8) * (HEIGHT - 2);
  const [x, y] = [MARGIN + column * WIDTH, MARGIN + (row + 1) * HEIGHT - 1 - height];
  const faint = text === "░" ? ' opacity="0.25"' : "";
  return `<rect x="${rounded(x)}" y="${rounded(y)}" width="${WIDTH}" height="${rounded(height)}"${style}${faint}/>`;
}

function styleOf(cell: IBufferCell): string {
  const colour = cell.isFgPalette() ? COLOURS[cell.getFgColor()] : undefined;
  const weight = cell.isBold() ? ' font-weight="bold"' : "";
  return ` fill="${colour ?? FOREGROUND}"${cell.isDim() ? ' fill-opacity="0.6"' : ""}${weight}`;
}

function rounded(value: number): number {
  return Math.round(value * 10) / 10;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
