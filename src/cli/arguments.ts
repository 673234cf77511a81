// Parses the arguments of a command strictly by its citty definitions: anything else is refused.
//
// citty's parseArgs is not used: it accepts unknown options and surplus arguments, takes the texts of our
// defaults for values, and loading it costs 1.7 ms of a start of 9 ms. A test holds this parser against it.

import { CommandError } from "./failure.ts";
import { flagOf, type Option, type Options, VARIABLES, type Values } from "./options.ts";

/** The arguments, before any value is parsed. */
export interface Scan {
  /** The text of each given option, by name; empty for an option without a value. */
  readonly given: ReadonlyMap<string, string>;
  readonly positionals: readonly string[];
  /** The last option, if its value is missing. */
  readonly awaiting: Option<unknown> | undefined;
  /** The first error, if any. */
  readonly problem: Problem | undefined;
}

interface Problem {
  readonly message: string;
  /** The unknown option, if that is the problem. */
  readonly unknown?: string;
}

/** Sorts the arguments into options and positionals. Never throws: --help and --json-output work in spite of errors. */
export function scanArguments(argv: readonly string[], options: Options): Scan {
  return new Scanner(options).scan(argv);
}

/**
 * The typed values of the arguments.
 *
 * @throws CommandError USAGE for the first argument that does not match the definitions.
 */
export async function parseArguments<O extends Options>(
  scan: Scan,
  options: O,
  help: string,
): Promise<Values<O>> {
  if (scan.problem !== undefined) throw await explainProblem(scan.problem, options, help);
  const values: Record<string, unknown> = {};
  const positionals = [...scan.positionals];
  for (const [name, option] of Object.entries(options)) {
    if (option.variadic) {
      const texts = positionals.splice(0);
      if (texts.length === 0 && option.type === "positional" && option.required === true)
        throw missing(name, option, help);
      values[name] = texts.flatMap((text) => parseValue(`<${name}>`, option, text, help));
      continue;
    }
    const text = option.type === "positional" ? positionals.shift() : scan.given.get(name);
    if (text === undefined && option.type === "positional" && option.required !== false) {
      throw missing(name, option, help);
    }
    values[name] =
      text === undefined
        ? defaultOf(name, option, help)
        : parseValue(placeOf(name, option), option, text, help);
  }
  if (positionals.length > 0) {
    throw new CommandError("USAGE", `Unexpected argument ${JSON.stringify(positionals[0])}.`, help);
  }
  return values as Values<O>;
}

/**
 * Refuses options that cannot be combined.
 *
 * @param values the options as they are written, with their values; undefined and false mean that it is not given.
 * @throws CommandError USAGE if more than one is given.
 */
export function refuseTogether(
  values: Readonly<Record<string, unknown>>,
  hint = "Give only one of them.",
): void {
  const [first, second] = Object.keys(values).filter(
    (flag) => values[flag] !== undefined && values[flag] !== false,
  );
  if (second === undefined) return;
  throw new CommandError("USAGE", `Options ${first} and ${second} cannot be combined.`, hint);
}

/** The hint for an unknown word: the nearest known word if one is near, or else `help`. */
export async function hintFor(unknown: string, known: readonly string[], help: string): Promise<string> {
  const meant = await nearest(unknown, known);
  return meant === undefined ? help : `Did you mean ${meant}?`;
}

async function nearest(word: string, known: readonly string[]): Promise<string | undefined> {
  const completion = known.find((candidate) => word.length > 2 && candidate.startsWith(word));
  if (completion !== undefined) return completion;
  const { closest, distance } = await import("fastest-levenshtein");
  const candidate = closest(word, [...known]);
  return distance(word, candidate) <= Math.min(3, word.length / 2) ? candidate : undefined;
}

class Scanner {
  /** The names of the options by how they are written: `--frames` and `-n`. */
  readonly #names = new Map<string, string>();
  readonly #options: Options;
  readonly #given = new Map<string, string>();
  readonly #positionals: string[] = [];
  #awaiting: Option<unknown> | undefined;
  #problem: Problem | undefined;

  constructor(options: Options) {
    this.#options = options;
    for (const [name, { type, alias }] of Object.entries(options)) {
      if (type === "positional") continue;
      this.#names.set(flagOf(name), name);
      if (alias !== undefined) this.#names.set(`-${alias}`, name);
    }
  }

  scan(argv: readonly string[]): Scan {
    const rest = [...argv];
    for (let argument = rest.shift(); argument !== undefined; argument = rest.shift()) {
      if (argument === "--") this.#positionals.push(...rest.splice(0));
      else if (argument === "-" || !argument.startsWith("-")) this.#positionals.push(argument);
      else if (argument.startsWith("--")) this.#long(argument, rest);
      else this.#short(argument, rest);
    }
    return {
      given: this.#given,
      positionals: this.#positionals,
      awaiting: this.#awaiting,
      problem: this.#problem,
    };
  }

  /** `--option`, `--option value` or `--option=value`. */
  #long(argument: string, rest: string[]): void {
    const equals = argument.indexOf("=");
    const flag = equals === -1 ? argument : argument.slice(0, equals);
    const option = this.#find(flag);
    if (option === undefined) return;
    const attached = equals === -1 ? undefined : argument.slice(equals + 1);
    if (option.type === "boolean" && attached !== undefined) this.#refuse(`Option ${flag} takes no value.`);
    this.#give(flag, attached ?? this.#value(flag, option, rest));
  }

  /** `-n value`, `-nvalue`, `-v`, or several letters, of which only the last may take a value. */
  #short(argument: string, rest: string[]): void {
    for (let at = 1; at < argument.length; at++) {
      const flag = `-${argument[at]}`;
      const option = this.#find(flag);
      if (option === undefined) return;
      if (option.type === "boolean") {
        this.#give(flag, "");
        continue;
      }
      const attached = argument.slice(at + 1);
      if (attached.startsWith("="))
        this.#refuse(`Option ${flag} takes its value without "=": ${flag} VALUE.`);
      this.#give(flag, attached || this.#value(flag, option, rest));
      return;
    }
  }

  #find(flag: string): Option<unknown> | undefined {
    const name = this.#names.get(flag);
    if (name !== undefined) return this.#options[name];
    this.#problem ??= { message: `Unknown option ${flag}.`, unknown: flag };
    return undefined;
  }

  #value(flag: string, option: Option<unknown>, rest: string[]): string {
    if (option.type === "boolean") return "";
    const next = rest[0];
    if (next === undefined) this.#awaiting = option;
    if (next === undefined || looksLikeOption(next)) {
      this.#refuse(`Option ${flag} needs a value: it takes ${option.takes}.`);
      return "";
    }
    rest.shift();
    return next;
  }

  #give(flag: string, text: string): void {
    // Of a repeated option the last one holds, unless it takes several values.
    const name = this.#names.get(flag)!;
    const before = this.#options[name]?.isRepeatable ? this.#given.get(name) : undefined;
    this.#given.set(name, before === undefined ? text : `${before},${text}`);
  }

  #refuse(message: string): void {
    this.#problem ??= { message };
  }
}

/** Whether a text may not be what was given: Bun replaces bytes that are not UTF-8 with U+FFFD, and Windows may give half a pair. */
function isAltered(text: string): boolean {
  return text.includes("\ufffd") || !text.isWellFormed();
}

/** `-` is a value (stdin or stdout), and so is a negative number: the check of its range has a better message. */
function looksLikeOption(argument: string): boolean {
  return argument.startsWith("-") && argument !== "-" && !/^-[\d.]/.test(argument);
}

async function explainProblem(problem: Problem, options: Options, help: string): Promise<CommandError> {
  const { message, unknown } = problem;
  if (unknown === undefined) return new CommandError("USAGE", message, help);
  const known = Object.keys(options).filter((name) => options[name]?.type !== "positional");
  return new CommandError("USAGE", message, await hintFor(unknown, known.map(flagOf), help));
}

/** The value of an option that is not given: of its variable, if that is set. */
function defaultOf<T>(name: string, option: Option<T>, help: string): T {
  const variable = Object.hasOwn(VARIABLES, name) ? VARIABLES[name] : undefined;
  const text = variable === undefined ? undefined : process.env[variable];
  return text ? parseValue(`Variable ${variable}`, option, text, help) : option.absent;
}

function missing(name: string, { takes }: Option<unknown>, help: string): CommandError {
  return new CommandError("USAGE", `Argument <${name}> is missing: it takes ${takes}.`, help);
}

function placeOf(name: string, { type }: Option<unknown>): string {
  return type === "positional" ? `<${name}>` : `Option ${flagOf(name)}`;
}

/** @param place what the text belongs to: `Option --frames`. */
function parseValue<T>(place: string, option: Option<T>, text: string, help: string): T {
  if (isAltered(text)) {
    throw new CommandError(
      "USAGE",
      `${place} takes UTF-8, and no character U+FFFD.`,
      option.rawBytes ?? help,
    );
  }
  const value = option.parse(text);
  if (value !== undefined) return value;
  throw new CommandError("USAGE", `${place} takes ${option.takes}, not ${JSON.stringify(text)}.`, help);
}
