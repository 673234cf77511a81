// The options that say which broker to use, and who one is there.

import { CommandError, systemReason } from "../../cli/failure.ts";
import { path, text, type Values } from "../../cli/options.ts";
import { files } from "../../runtime/files.ts";

const DEFAULT_SERVER = "nats://127.0.0.1:4222";

export const brokerOptions = {
  server: {
    ...text({
      group: "Broker",
      description: "connect to this NATS server",
      note: "--server also takes several addresses, separated by commas: one of them is used.",
      valueHint: "URL",
      shown: DEFAULT_SERVER,
    }),
  },
  creds: path({ group: "Broker", description: "identify with the credentials in this file" }),
  user: {
    ...text({
      group: "Broker",
      description: "identify with this name, and a password",
      note:
        "The password of --user is read from --password-file, or from the environment variable NATS_PASSWORD. Secrets are " +
        "never taken from the command line, which every user of the machine can read.",
      valueHint: "NAME",
    }),
  },
  passwordFile: path({ group: "Broker", description: "read the password from the first line of this file" }),
  tlsCa: path({ group: "Broker", description: "trust the certificates in this file (PEM), over TLS" }),
  tlsCert: path({ group: "Broker", description: "show the server the certificate in this file (PEM)" }),
  tlsKey: path({ group: "Broker", description: "use the key of --tls-cert in this file (PEM)" }),
};

/** Where to connect and who to be. Nothing of it may be printed but `shown`. */
export interface Access {
  /** Addresses without user and password. */
  readonly servers: readonly string[];
  /** The same as text. */
  readonly shown: string;
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly creds: Uint8Array | undefined;
  readonly tls:
    | { readonly caFile?: string; readonly certFile?: string; readonly keyFile?: string }
    | undefined;
}

/** Whether people are told on stderr that the server has gone: as they are told the result. */
export function saysOutages(options: { quiet: boolean; jsonOutput: boolean; jsonLines: boolean }): boolean {
  return !options.quiet && !options.jsonOutput && !options.jsonLines;
}

/** Reads what the options name. Throws USAGE or IO_ERROR, without a secret in the message. */
export function accessOf(options: Values<typeof brokerOptions>): Access {
  const { server = DEFAULT_SERVER, creds, passwordFile, tlsCa, tlsCert, tlsKey } = options;
  const urls = server.split(",").map(parseServer);
  const inUrl = urls.find(({ username }) => username !== "");
  if (inUrl !== undefined && server !== process.env.NATS_URL) {
    throw new CommandError(
      "USAGE",
      "Option --server has a user or a password in it, which every user of this machine can read.",
      "Use --user with --password-file, or set NATS_URL in the environment.",
    );
  }
  const user = options.user ?? (inUrl && decodeURIComponent(inUrl.username));
  if (creds !== undefined && options.user !== undefined)
    throw new CommandError(
      "USAGE",
      "Options --creds and --user cannot be combined.",
      "Give only one of them.",
    );
  if (passwordFile !== undefined && user === undefined)
    throw new CommandError("USAGE", "Option --password-file needs --user.", "Name the user, too.");
  if ((tlsCert === undefined) !== (tlsKey === undefined))
    throw new CommandError("USAGE", "Options --tls-cert and --tls-key belong together.", "Give both.");
  const servers = urls.map(({ protocol, host }) => `${protocol}//${host}`);
  const usesTls =
    [tlsCa, tlsCert].some((file) => file !== undefined) || urls.some(({ protocol }) => protocol === "tls:");
  // Read here, so that a missing file is an error of its option.
  for (const [flag, file] of Object.entries({
    "--tls-ca": tlsCa,
    "--tls-cert": tlsCert,
    "--tls-key": tlsKey,
  }))
    if (file !== undefined) readSecret(flag, file);
  return {
    servers,
    shown: servers.join(","),
    user,
    password: passwordOf(passwordFile, inUrl),
    creds: creds === undefined ? undefined : readCredentials(creds),
    tls: usesTls ? definedOf({ caFile: tlsCa, certFile: tlsCert, keyFile: tlsKey }) : undefined,
  };
}

function definedOf<T extends object>(values: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: NonNullable<T[K]>;
  };
}

/** Without a word of the text in the message: it may hold a password. */
function parseServer(text: string): URL {
  const url = URL.parse(text.includes("://") ? text : `nats://${text}`);
  if (url !== null && ["nats:", "tls:"].includes(url.protocol) && url.hostname !== "") return url;
  throw new CommandError(
    "USAGE",
    "Option --server, or the variable NATS_URL, takes addresses such as nats://127.0.0.1:4222, with commas between them.",
    "tls://HOST:PORT demands an encrypted connection.",
  );
}

function passwordOf(file: string | undefined, url: URL | undefined): string | undefined {
  if (file !== undefined) {
    const [line = ""] = new TextDecoder().decode(readSecret("--password-file", file)).split(/\r?\n/);
    return line;
  }
  return process.env.NATS_PASSWORD ?? (url && decodeURIComponent(url.password));
}

function readCredentials(file: string): Uint8Array {
  const bytes = readSecret("--creds", file);
  // A token and a seed, each between lines of dashes.
  const parts = new TextDecoder().decode(bytes).match(/-{3,}[^\n]*-{3,}\r?\n.+\r?\n\s*-{3,}[^\n]*-{3,}/g);
  if (parts?.length === 2) return bytes;
  throw new CommandError(
    "IO_ERROR",
    "The file of --creds, or of the variable NATS_CREDS, has no credentials in it.",
    "It is a file that nsc makes, with a token (JWT) and a seed (NKEY).",
  );
}

function readSecret(flag: string, file: string): Uint8Array {
  try {
    return files().readFileSync(file);
  } catch (error) {
    throw new CommandError("IO_ERROR", `Cannot read the file of ${flag}: ${systemReason(error)}.`);
  }
}
