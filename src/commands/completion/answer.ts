// zerobuffer complete: prints the completions of a word. The scripts of `zerobuffer completion` run it.

import { nameIn } from "../../cli/address.ts";
import { scanArguments } from "../../cli/arguments.ts";
import { type AnyCommand, type Commands, defineCommand, firstSentence } from "../../cli/command.ts";
import { flagOf, type Option, type Options, outputOptions, programOptions } from "../../cli/options.ts";
import { channelOf } from "../../core/index.ts";
import { inspectBuffer, listBuffers } from "../../core/inspection.ts";
import type { CompleteDocument } from "../../schemas/complete.ts";

/** Printed instead of words if the shell should offer files. */
const FILES = ":files";

/** What the program itself takes in place of a command. */
const OWN_WORDS = [
  { value: "help", description: "Shows the help of a command." },
  { value: "version", description: "Shows the version." },
];

type Offer = CompleteDocument["offers"][number];

const args = {
  words: {
    type: "positional",
    variadic: true,
    group: "",
    description: "words before the one to complete, without the program",
    takes: "words",
    absent: [] as readonly string[],
    parse: (text: string) => [text],
  },
  // Given after "=", because some shells lose an empty argument.
  word: {
    type: "string",
    group: "Completion",
    description: "complete this word, up to the cursor",
    valueHint: "WORD",
    takes: "a text",
    absent: "",
    parse: (text: string) => text,
  },
  ...outputOptions,
} satisfies Options;

/** The command that completes the arguments of these commands. */
export function answering(commands: Commands) {
  return defineCommand({
    meta: { name: "complete", description: "Prints the completions of a word.", hidden: true },
    args,
    examples: [
      { purpose: "print the options of reader", line: "zerobuffer complete --word=-- -- reader cam" },
    ],

    blank: (): CompleteDocument => ({ operation: "complete", files: false, offers: [], errors: [] }),

    async run({ words, word }, _session, document) {
      const offers = await offersAfter(commands, words, word);
      document.files = offers === "files";
      document.offers = offers === "files" ? [] : offers.filter(({ value }) => value.startsWith(word));
    },

    summarize: ({ files, offers }) =>
      files ? [FILES] : offers.map(({ value, description }) => `${value}\t${description}`),
  });
}

async function offersAfter(
  commands: Commands,
  words: readonly string[],
  word: string,
): Promise<Offer[] | "files"> {
  if (words[0] === "help") return await nextWords(commands, words.slice(1));
  // A command's name is one word, or two.
  for (const count of [1, 2]) {
    const load = commands[words.slice(0, count).join(" ")];
    if (load !== undefined) return await argumentsOf(await load(), words.slice(count), word);
  }
  return word.startsWith("-") && words.length === 0
    ? flags(programOptions)
    : [...(await nextWords(commands, words)), ...(words.length === 0 ? OWN_WORDS : [])];
}

/** The next word of the commands that begin with these words. */
async function nextWords(commands: Commands, words: readonly string[]): Promise<Offer[]> {
  const before = words.map((word) => `${word} `).join("");
  const shown = (await Promise.all(Object.values(commands).map((load) => load()))).filter(
    ({ meta }) => !meta.hidden && meta.name.startsWith(before),
  );
  const rests = shown.map(({ meta: { name, description } }) => {
    const [value = "", ...next] = name.slice(before.length).split(" ");
    // A group is described by its members, a command by its first sentence.
    return {
      value,
      description: next.length > 0 ? next.join(" ") : firstSentence(description),
    };
  });
  return [...Map.groupBy(rests, ({ value }) => value)].map(([value, members]) => ({
    value,
    description: members.map(({ description }) => description).join(", "),
  }));
}

/** The arguments of a command that can come after `words`. */
async function argumentsOf(
  { args }: AnyCommand,
  words: readonly string[],
  word: string,
): Promise<Offer[] | "files"> {
  const { awaiting, given, positionals } = scanArguments(words, args);
  if (awaiting !== undefined) return await valuesOf(awaiting);

  const options = !words.includes("--");
  const [, attachedTo] = /^--([^=]+)=/.exec(word) ?? [];
  if (options && attachedTo !== undefined) {
    const option = Object.entries(args).find(([name]) => flagOf(name) === `--${attachedTo}`)?.[1];
    const values = option === undefined || option.type === "boolean" ? [] : await valuesOf(option);
    if (values === "files") return values;
    return values.map((offer) => ({ ...offer, value: `--${attachedTo}=${offer.value}` }));
  }
  const unused = Object.fromEntries(Object.entries(args).filter(([name]) => !given.has(name)));
  if (options && word.startsWith("-")) return flags(unused);

  const places = Object.values(args).filter(({ type }) => type === "positional");
  const last = places.at(-1);
  const place = places[positionals.length] ?? (last?.variadic ? last : undefined);
  if (place === undefined) return options ? flags(unused) : [];
  const values = await valuesOf(place);
  const named = positionals.map(nameIn);
  return values === "files" ? values : values.filter(({ value }) => !named.includes(value));
}

function flags(options: Options): Offer[] {
  return Object.entries(options)
    .filter(([, { type }]) => type !== "positional")
    .map(([name, { description }]) => ({ value: flagOf(name), description }));
}

async function valuesOf({ offers = [] }: Option<unknown>): Promise<Offer[] | "files"> {
  if (offers === "files") return offers;
  if (offers === "buffers") return buffers();
  if (offers === "channels") return channels();
  return offers.map((value) => ({ value, description: "" }));
}

function buffers(): Offer[] {
  return listBuffers().flatMap((name) => {
    const buffer = inspectBuffer(name);
    return buffer === undefined ? [] : { value: name, description: buffer.state() ?? "" };
  });
}

function channels(): Offer[] {
  return buffers().flatMap(({ value, description }) => {
    const channel = channelOf(value);
    return channel === undefined ? [] : [{ value: channel, description }];
  });
}
