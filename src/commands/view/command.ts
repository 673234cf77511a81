// zerobuffer view: shows what is in a buffer, and how all buffers are doing, in a browser.

import { refuseTogether } from "../../cli/arguments.ts";
import { defineCommand } from "../../cli/command.ts";
import { CommandError } from "../../cli/failure.ts";
import { bytesText, count } from "../../cli/format.ts";
import { openOutput } from "../../cli/open.ts";
import {
  bufferNameOrNone,
  choice,
  endpoint,
  flag,
  type Option,
  path,
  several,
  size,
  text,
  transferOptions,
  type Values,
} from "../../cli/options.ts";
import type { Session } from "../../cli/session.ts";
import { readersBuffer } from "../../cli/shared-options.ts";
import { Descriptor, print } from "../../cli/terminal.ts";
import type { Endpoint } from "../../cli/values.ts";
import { videoOption } from "../../cli/video.ts";
import { Reader } from "../../core/index.ts";
import { COLOURS, SHOWN_FORMATS } from "../../frames/pixels.ts";
import type { ViewDocument } from "../../schemas/view.ts";

const ANY_FREE_PORT: Endpoint = { host: "127.0.0.1", port: 0 };

const origin: Option<string | undefined> = {
  ...text({
    group: "Server",
    description: "allow browsers this address, too",
    note:
      "--origin may be given several times. It is for a port that another program passes on: ssh -L, docker run -p, or a proxy " +
      "that adds TLS.",
    valueHint: "URL",
  }),
  takes: "an address such as http://localhost:8080",
  parse: originOf,
};

const args = {
  buffer: bufferNameOrNone("name of the buffer to create and show", "none: all buffers"),
  video: {
    ...videoOption({ group: "Frames", what: "frames" }),
    description: "say what frames are, as in 640x480:RGB",
    note:
      "--video WIDTHxHEIGHT:FORMAT holds unless the metadata says what frames are; a RATE is ignored. FORMAT is the name that " +
      `GStreamer or ffmpeg has for ${SHOWN_FORMATS.join(", ")}.`,
  },
  colour: choice(COLOURS, {
    group: "Frames",
    description: "set colours",
    note: "--colour is for YUV. Without it the metadata decides, or else the height: bt709 for more than 576 rows.",
    valueHint: "COLOUR",
    default: undefined,
    shown: "auto",
  }),
  stamp: flag({ group: "Frames", description: "take the stamp off each frame, and show its age" }),
  skipBytes: size({
    group: "Frames",
    description: "skip this many bytes in front of each picture",
    default: 0,
    min: 0,
    max: 2 ** 32,
  }),
  noFollow: flag({ group: "Frames", description: "end when the writer leaves" }),
  snapshot: path({
    group: "File",
    description: "write one picture as PNG to a file, or to stdout (-)",
    dash: true,
  }),
  listen: endpoint({
    group: "Server",
    description: "listen there",
    note: "--listen PORT listens on 127.0.0.1, and keeps the token of this user for that port.",
    shown: "127.0.0.1 and a free port",
  }),
  tokenFile: path({ group: "Server", description: "take the token from this file" }),
  origin: {
    ...several(origin, { absent: [], shown: "none" }),
    isRepeatable: true,
  } satisfies Option<readonly string[]>,
  open: flag({ group: "Server", description: "open the page, also without a terminal" }),
  noOpen: flag({ group: "Server", description: "print the address, and open nothing" }),
  ...readersBuffer({ group: "Buffer" }),
  ...transferOptions,
};

export default defineCommand({
  meta: {
    name: "view",
    description:
      "Shows the frames of a buffer, and how all buffers are doing, in a browser. It is the reader of that buffer: it makes the " +
      "buffer, and takes the newest frame each time.",
  },
  args,
  movesFrames: true,
  examples: [
    { purpose: "look at what comes into buffer preview", line: "zerobuffer view preview" },
    {
      purpose: "look at grey pictures of 640 x 480 that nothing describes",
      line: "zerobuffer view preview --video 640x480:GRAY8",
    },
    { purpose: "write one picture to a file", line: "zerobuffer view preview --snapshot now.png" },
  ],

  blank: (buffer): ViewDocument => ({
    operation: "view",
    buffer_name: buffer,
    address: null,
    snapshot: null,
    browsers: 0,
    frames_read: 0,
    frames_skipped: 0,
    frames_sent: 0,
    bytes_sent: 0,
    metadata_size: 0,
    errors: [],
  }),

  async run(options, session, document) {
    refuseContradictions(options);
    const { snapshot, noFollow } = options;
    // Before the buffer is created, so that a bad path harms nothing.
    const output = await openOutput(snapshot, session, "--snapshot");
    const follow = { ...options, follow: !noFollow };
    if (output === undefined || snapshot === undefined) return await serve(follow, session, document);
    const { takeSnapshot } = await import("./snapshot.ts");
    const reader = await openReader(options, session);
    await takeSnapshot(reader!, follow, { path: snapshot, output }, session, document);
  },

  summarize({ snapshot, frames_read, frames_skipped, frames_sent, buffer_name }, _, failed) {
    if (snapshot !== null) {
      const { file, format, width, height, file_bytes } = snapshot;
      return [
        `Wrote ${file === "-" ? "a picture" : file}: ${width}x${height} from ${format}, ${bytesText(file_bytes)}.`,
      ];
    }
    if (failed || buffer_name === null) return [];
    return [
      `${count(frames_read + frames_skipped, "frames")} came into ${buffer_name}, ${frames_sent} were shown.`,
    ];
  },
});

type ViewOptions = Values<typeof args>;

function refuseContradictions(options: ViewOptions): void {
  const { buffer, snapshot, listen, tokenFile, origin, open, noOpen, video, colour, stamp, noFollow } =
    options;
  refuseTogether({ "--open": open, "--no-open": noOpen });
  const forServer = { "--listen": listen, "--token-file": tokenFile, "--origin": origin[0], "--open": open };
  for (const [flag, value] of Object.entries(forServer)) {
    refuseTogether({ "--snapshot": snapshot, [flag]: value }, "--snapshot starts no server.");
  }
  if (buffer !== undefined) return;
  const forFrames = {
    ...{
      "--snapshot": snapshot,
      "--video": video,
      "--colour": colour,
      "--stamp": stamp,
      "--no-follow": noFollow,
    },
    "--skip-bytes": options.skipBytes > 0,
  };
  for (const [flag, value] of Object.entries(forFrames)) {
    if (value === undefined || value === false) continue;
    throw new CommandError(
      "USAGE",
      `Option ${flag} needs a buffer.`,
      "Name the buffer whose frames to show.",
    );
  }
}

/** The reader of the buffer, which is made; undefined if none is named. */
async function openReader(options: ViewOptions, session: Session): Promise<Reader | undefined> {
  const { buffer, mode } = options;
  if (buffer === undefined) return undefined;
  const { bufferSize, metadataSize } = { ...options, ...session.sizes.get("buffer") };
  const config = { metadataSize, payloadSize: bufferSize, mode };
  const reader = session.own(await Reader.create(buffer, config, { signal: session.signal }));
  session.events?.emit("ready", { buffer });
  session.log?.info(`Created buffer "${buffer}" of ${count(reader.config.payloadSize, "bytes")}.`);
  return reader;
}

async function serve(
  options: ViewOptions & { readonly follow: boolean },
  session: Session,
  document: ViewDocument,
): Promise<void> {
  const { listen: listenAt = ANY_FREE_PORT, tokenFile, origin: origins } = options;
  const [{ keptToken, randomToken, tokenIn }, { Serving }] = await Promise.all([
    import("./token.ts"),
    import("./serving.ts"),
  ]);
  const usualToken = listenAt.port === 0 ? randomToken : () => keptToken(listenAt.port);
  const token = tokenFile === undefined ? usualToken() : tokenIn(tokenFile);
  const reader = await openReader(options, session);
  const serving = await Serving.open(
    { ...options, endpoint: listenAt, origins, token },
    reader,
    session,
    document,
  );
  document.address = `${serving.origin}/`;
  const isPrivate = isOfThisMachine(listenAt);
  if (!isPrivate) warn(session, listenAt);
  const hash = isPrivate || tokenFile === undefined ? `#${token}` : "";
  await announce(
    [serving.origin, ...origins].map((one) => `${one}/${hash}`),
    options,
    session,
  );
  const { hasOnlooker, openPage } = await import("./opening.ts");
  if (options.open || (!options.noOpen && (await hasOnlooker()))) {
    const cannot = (reason: string) =>
      tell(session, `Cannot open the page: ${reason}. Open the address in a browser.`);
    session.own(openPage(`${serving.origin}/#${token}`, cannot));
  }
  await serving.run();
}

async function announce(
  [first = "", ...others]: readonly string[],
  { jsonOutput }: ViewOptions,
  session: Session,
): Promise<void> {
  const lines = [`Listening on ${first}`, ...others.map((address) => `          or ${address}`)];
  if (session.events !== undefined) session.events.emit("ready", { address: first });
  else if (!jsonOutput) await print(Descriptor.STDOUT, lines.map((line) => `${line}\n`).join(""));
  else for (const line of lines) session.stderr.add(line);
}

function isOfThisMachine({ host }: Endpoint): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d+){3}$/.test(host);
}

function warn(session: Session, { host }: Endpoint): void {
  tell(
    session,
    `Other machines can reach ${host}. There is no encryption: everybody who has the token or listens on the way sees the frames.`,
  );
}

function tell(session: Session, message: string): void {
  if (session.events !== undefined) session.events.emit("warning", { message });
  else session.stderr.add(`zerobuffer view: ${message}`);
}

/** The origin that a text names: `http://localhost:8080`. */
function originOf(text: string): string | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isOrigin = url !== undefined && /^https?:$/.test(url.protocol) && url.pathname === "/" && !url.search;
  return isOrigin && !url.hash && !url.username ? url.origin : undefined;
}
