// The options of a command as one table of citty definitions: how each is written, what it takes, and its typed value.

import type { BooleanArgDef, EnumArgDef, PositionalArgDef, StringArgDef } from "citty";
import {
  type Endpoint,
  formatDuration,
  formatSize,
  MAX_DURATION_MS,
  parseCount,
  parseDuration,
  parseEndpoint,
  parseMode,
  parseRate,
  parseSize,
} from "./values.ts";

/** One option or positional argument: a citty definition, and how its text becomes a `T`. */
export type Option<T> = (
  | (StringArgDef & { type: "string" })
  | (EnumArgDef & { type: "enum"; options: string[] })
  | (BooleanArgDef & { type: "boolean" })
  | (PositionalArgDef & { type: "positional" })
) & {
  readonly description: string;
  /** What a line of `--help` has no room for: whole sentences. */
  readonly note?: string;
  /** Its heading in `--help`. */
  readonly group: string;
  readonly alias?: string;
  /** Of the last positional: it takes any number of arguments, and its value is the list of what they become. */
  readonly variadic?: true;
  /** Given several times, it is what its values are with commas between them: {@link several}. */
  readonly isRepeatable?: true;
  /** Completes "Option --x takes …". */
  readonly takes: string;
  /** The hint for bytes that are not UTF-8, if another option takes them. */
  readonly rawBytes?: string;
  /** What a shell offers for it: words, or what exists when it asks. Nothing for a number, for example. */
  readonly offers?: readonly string[] | "buffers" | "channels" | "files";
  /** The value if the option is not given. */
  readonly absent: T;
  /** The value of a text, or `undefined` if the text is not acceptable. */
  parse(text: string): T | undefined;
};

/** The options of a command; their names are in camel case here and in kebab case on the command line. */
export type Options = Readonly<Record<string, Option<unknown>>>;

/** The values of a table of options. */
export type Values<O extends Options> = { readonly [K in keyof O]: O[K]["absent"] };

interface Spec<D> {
  group: string;
  /** One line, verb first. */
  description: string;
  note?: string;
  rawBytes?: string;
  /** The value if the option is not given. */
  default: D;
  /** The default in words, if the value alone does not say it. */
  shown?: string;
  /** The letter of the short form. */
  alias?: string;
  valueHint?: string;
}

/** An option without a default. */
type PlainSpec = Omit<Spec<undefined>, "default">;

interface Kind<T> {
  takes: string;
  valueHint: string;
  offers?: Option<T>["offers"];
  parse(text: string): T | undefined;
  show?(value: T): string;
}

/** More than any machine has, and exact in a number. */
export const MAX_SIZE = 2 ** 48;

/** A whole number from `min` to `max`. */
export function integer<D extends number | undefined>(
  spec: Spec<D> & { min: number; max?: number },
): Option<number | D> {
  const { min, max = Number.MAX_SAFE_INTEGER } = spec;
  return option(spec, {
    takes: `a whole number from ${min} to ${max}`,
    valueHint: "COUNT",
    parse: (text) => parseCount(text, min, max),
  });
}

/** A size in bytes from `min` to `max`. */
export function size<D extends number | undefined>(
  spec: Spec<D> & { min: number; max?: number },
): Option<number | D> {
  const { min, max = MAX_SIZE } = spec;
  return option(spec, {
    takes: `a size from ${min} to ${formatSize(max)}, in bytes or with K, M, G, KiB, MiB, GiB, KB, MB or GB`,
    valueHint: "SIZE",
    parse: (text) => parseSize(text, min, max),
    show: formatSize,
  });
}

/** A time in milliseconds. With `zeroIsForever`, 0 becomes `Infinity`. */
export function duration<D extends number | undefined>(
  spec: Spec<D> & { zeroIsForever?: boolean },
): Option<number | D> {
  return option(spec, {
    takes: `milliseconds up to ${MAX_DURATION_MS}, or a number with us, ms, s or m`,
    valueHint: "TIME",
    parse: (text) => {
      const milliseconds = parseDuration(text);
      return spec.zeroIsForever && milliseconds === 0 ? Number.POSITIVE_INFINITY : milliseconds;
    },
    show: formatDuration,
  });
}

/** A positive number of events per second; none by default. */
export function rate(spec: PlainSpec): Option<number | undefined> {
  return option(
    { ...spec, default: undefined },
    { takes: "a number above 0", valueHint: "RATE", parse: parseRate },
  );
}

/** One of a list of words. */
export function choice<const C extends string, D extends C | undefined>(
  choices: readonly C[],
  spec: Spec<D> & { valueHint: string },
): Option<C | D> {
  const described = { ...spec, description: `${spec.description}: ${list(choices)}` };
  const definition = define(described, {
    takes: list(choices),
    valueHint: spec.valueHint,
    offers: choices,
    parse: (text) => choices.find((word) => word === text),
  });
  return { ...definition, type: "enum", options: [...choices] };
}

/** Permission bits in octal; none by default. */
export function permissions(spec: PlainSpec): Option<number | undefined> {
  return option(
    { ...spec, default: undefined },
    { takes: "permission bits in octal, such as 0660", valueHint: "OCTAL", parse: parseMode },
  );
}

/** Text of at least one character; none by default. */
export function text(spec: PlainSpec): Option<string | undefined> {
  return option(
    { ...spec, default: undefined },
    { takes: "a non-empty text", valueHint: "TEXT", parse: (text) => text || undefined },
  );
}

/** The path of a file, or `-` for stdin or stdout with `dash`; none by default. */
export function path(spec: PlainSpec & { dash?: boolean }): Option<string | undefined> {
  return option(
    { ...spec, default: undefined },
    {
      takes: spec.dash ? "a path, or -" : "a path",
      valueHint: spec.dash ? "PATH|-" : "PATH",
      offers: "files",
      parse: (text) => (text === "" || (text === "-" && !spec.dash) ? undefined : text),
    },
  );
}

/** An address and a port of TCP to listen on; none by default. */
export function endpoint(spec: PlainSpec): Option<Endpoint | undefined> {
  return option(
    { ...spec, default: undefined },
    {
      takes: "a port from 0 to 65535, or an address and a port: 127.0.0.1:9464, [::1]:9464",
      valueHint: "[ADDRESS:]PORT",
      parse: parseEndpoint,
    },
  );
}

/** An option without a value. */
export function flag(spec: {
  group: string;
  description: string;
  note?: string;
  alias?: string;
}): Option<boolean> {
  return { ...spec, type: "boolean", takes: "no value", absent: false, parse: () => true };
}

/** How names of buffers and channels are written. */
const ADDRESS_NOTE =
  "A name may also be an address: 'shm://NAME?size=256MB&metadata=4KB&mode=OneWay'. A command that creates the buffer takes " +
  "its --buffer-size and --metadata-size from size and metadata, unless they are given; MB and KB are powers of 1024 there.";

/** The name of a channel, as a positional argument. The core checks it. */
export function channelName(description: string): Option<string> {
  return { ...bufferName(description), takes: "the name of a channel", offers: "channels" };
}

/** The name of a buffer, as the positional argument every command starts with. The core checks it. */
export function bufferName(description: string): Option<string> {
  return {
    type: "positional",
    group: "",
    description,
    note: ADDRESS_NOTE,
    takes: "the name of a buffer",
    offers: "buffers",
    absent: "",
    parse: (text) => text,
  };
}

/** The name of a buffer that may be missing; `shown` says what that means. The core checks it. */
export function bufferNameOrNone(description: string, shown: string): Option<string | undefined> {
  return {
    type: "positional",
    required: false,
    group: "",
    default: shown,
    description,
    note: ADDRESS_NOTE,
    takes: "the name of a buffer",
    offers: "buffers",
    absent: undefined,
    parse: (text) => text,
  };
}

/** The names of any number of buffers; `shown` says what no name means: without it, one is needed. The core checks them. */
export function bufferNames(description: string, shown?: string): Option<readonly string[]> {
  return {
    type: "positional",
    variadic: true,
    required: shown === undefined,
    group: "",
    description,
    ...(shown !== undefined && { default: shown }),
    note: ADDRESS_NOTE,
    takes: "names of buffers",
    offers: "buffers",
    absent: [],
    parse: (text) => [text],
  };
}

/** Any number of words out of a list; `shown` says what no word means. */
export function words<const C extends string>(
  choices: readonly C[],
  description: string,
  shown: string,
): Option<readonly C[]> {
  return {
    type: "positional",
    variadic: true,
    group: "",
    description: `${description}: ${list(choices)}`,
    default: shown,
    takes: list(choices),
    offers: choices,
    absent: [],
    parse: (text) => {
      const word = choices.find((choice) => choice === text);
      return word && [word];
    },
  };
}

/** Several values of an option, with commas between them. */
export function several<T>(
  option: Option<T>,
  { absent, shown }: { absent: readonly NonNullable<T>[]; shown: string },
): Option<readonly NonNullable<T>[]> {
  return {
    ...option,
    type: "string",
    default: shown,
    takes: `${option.takes}; several with commas between them`,
    absent,
    parse: (text) => {
      const values = text.split(",").map((part) => option.parse(part));
      const known = values.filter((value) => value != null);
      return known.length === values.length ? known : undefined;
    },
  };
}

/** One of a list of words, as a positional argument that may be missing; `shown` says what that means. */
export function chosenWord<const C extends string>(
  choices: readonly C[],
  description: string,
  shown: string,
): Option<C | undefined> {
  return {
    type: "positional",
    required: false,
    group: "",
    default: shown,
    description: `${description}: ${list(choices)}`,
    takes: list(choices),
    offers: choices,
    absent: undefined,
    parse: (text) => choices.find((word) => word === text),
  };
}

/** The options that every command takes. */
export const outputOptions = {
  jsonOutput: flag({ group: "Output", description: "print the result as one JSON object" }),
  quiet: flag({ group: "Output", description: "hide the progress" }),
  verbose: flag({ group: "Output", alias: "v", description: "log what happens to stderr" }),
  help: flag({ group: "Output", alias: "h", description: "show this help" }),
};

/** Events instead of one result, for commands that run for long. */
export const jsonLines = flag({
  group: "Output",
  description: "print events, one JSON object per line",
});

/** The same for commands that move frames. */
export const transferOptions = {
  ...outputOptions,
  jsonLines,
  intervalMs: duration({
    group: "Output",
    description: "report progress this often, with --json-lines",
    default: undefined,
    shown: "1s",
  }),
  quiet: flag({ group: "Output", description: "hide the progress and the result" }),
};

/** The options of the program if no command is given. */
export const programOptions = {
  help: outputOptions.help,
  jsonOutput: outputOptions.jsonOutput,
  version: flag({ group: "Output", alias: "V", description: "show the version" }),
  licenses: flag({ group: "Output", description: "show the licence, and those of what is inside" }),
};

/** The variables that set the defaults of options, by the names of these. */
export const VARIABLES: Readonly<Record<string, string>> = {
  timeoutMs: "ZEROBUFFER_TIMEOUT_MS",
  connectTimeoutMs: "ZEROBUFFER_CONNECT_TIMEOUT_MS",
  bufferSize: "ZEROBUFFER_BUFFER_SIZE",
  metadataSize: "ZEROBUFFER_METADATA_SIZE",
  server: "NATS_URL",
  creds: "NATS_CREDS",
};

/** How an option is written: `timeoutMs` is `--timeout-ms`. */
export function flagOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

function option<T extends string | number | Endpoint, D extends T | undefined>(
  spec: Spec<D>,
  kind: Kind<T>,
): Option<T | D> {
  return { ...define(spec, kind), type: "string" };
}

/** An option but for its type. */
function define<T extends string | number | Endpoint, D extends T | undefined>(spec: Spec<D>, kind: Kind<T>) {
  const { group, description, note, rawBytes, alias, valueHint = kind.valueHint } = spec;
  const shown = spec.shown ?? (spec.default === undefined ? undefined : showDefault(spec.default, kind));
  return {
    group,
    description,
    valueHint,
    ...(note !== undefined && { note }),
    ...(rawBytes !== undefined && { rawBytes }),
    ...(alias !== undefined && { alias }),
    ...(shown !== undefined && { default: shown }),
    takes: kind.takes,
    ...(kind.offers !== undefined && { offers: kind.offers }),
    absent: spec.default as T | D,
    parse: kind.parse,
  };
}

function list(words: readonly string[]): string {
  return `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}

function showDefault<T>(value: T, kind: Kind<T>): string {
  return kind.show?.(value) ?? `${value}`;
}
