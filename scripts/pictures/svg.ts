// What terminals show, as an SVG.

import { type IBufferCell, Terminal } from "@xterm/headless";

/** The size of a character, and the room around them all, in pixels. */
const [WIDTH, HEIGHT, MARGIN] = [8.4, 18, 12];

/** The terminal's own colours, and those that zerobuffer uses, by their numbers. */
const BACKGROUND = "#1b1f27";
export const FOREGROUND = "#d8dee9";
export const COLOURS: Readonly<Record<number, string>> = { 1: "#ef6b73", 2: "#8fc379", 3: "#e5c07b" };

/** Characters that fill the part of their cell from the bottom up, in eighths. */
const BARS = " ▁▂▃▄▅▆▇█";

/** Characters of one kind that stand side by side. */
interface Run {
  text: string;
  readonly column: number;
  readonly style: string;
}

/** A terminal: what was printed to it, and where it is in the picture, in characters. */
export interface Screen {
  readonly output: string;
  readonly columns: number;
  readonly rows: number;
  /** The text above it; without it there is no line for one. */
  readonly heading?: string;
  readonly column?: number;
  readonly row?: number;
}

/**
 * Draws terminals.
 *
 * @param title what the picture shows, for those who cannot see it.
 */
export async function svgOf(screens: readonly Screen[], title: string): Promise<string> {
  const drawn = await Promise.all(screens.map(drawScreen));
  const [width, height] = [
    Math.max(...drawn.map(({ right }) => right)),
    Math.max(...drawn.map(({ bottom }) => bottom)),
  ];
  return svg(
    width,
    height,
    title,
    drawn.flatMap(({ shapes }) => shapes),
  );
}

/** An SVG of this size in pixels, in a monospaced font. */
export function svg(width: number, height: number, title: string, shapes: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${rounded(width)} ${rounded(height)}" role="img">`,
    `<title>${escaped(title)}</title>`,
    `<g font-family="ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="14" xml:space="preserve">`,
    ...shapes,
    "</g>",
    "</svg>",
    "",
  ].join("\n");
}

/** A terminal's background. */
export function panel(x: number, y: number, width: number, height: number): string {
  const [left, top, right, bottom] = [x, y, width, height].map(rounded);
  return `<rect x="${left}" y="${top}" width="${right}" height="${bottom}" rx="8" fill="${BACKGROUND}"/>`;
}

async function drawScreen({ output, columns, rows, heading, column = 0, row = 0 }: Screen) {
  const terminal = new Terminal({ cols: columns, rows, allowProposedApi: true, convertEol: true });
  await new Promise<void>((resolve) => terminal.write(output, resolve));
  const lines = heading === undefined ? 0 : 1;
  const [width, height] = [columns * WIDTH + 2 * MARGIN, (rows + lines) * HEIGHT + 2 * MARGIN];
  const [x, y] = [column * WIDTH, row * HEIGHT];
  const shapes = Array.from({ length: rows }, (_, line) => shapesOf(terminal, line)).flat();
  const name =
    heading === undefined
      ? []
      : [
          `<text x="${rounded(x + MARGIN)}" y="${rounded(y + MARGIN + 13)}" fill="${FOREGROUND}" fill-opacity="0.6">${escaped(heading)}</text>`,
        ];
  return {
    right: x + width,
    bottom: y + height,
    shapes: [
      panel(x, y, width, height),
      ...name,
      `<g transform="translate(${rounded(x)} ${rounded(y + lines * HEIGHT)})">`,
      ...shapes,
      "</g>",
    ],
  };
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

export function rounded(value: number): number {
  return Math.round(value * 10) / 10;
}

export function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
