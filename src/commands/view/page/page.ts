// The page of view: what is shown, and what the keys do.

import { Buffers } from "./buffers.ts";
import { Connection, type ConnectionState } from "./connection.ts";
import { byId, element, onPress, setText } from "./dom.ts";
import { Picture } from "./picture.ts";

const STATES: Readonly<Record<ConnectionState, { readonly text: string; readonly notice: string }>> = {
  connecting: { text: "connecting", notice: "" },
  connected: { text: "connected", notice: "" },
  lost: {
    text: "ended",
    notice:
      "zerobuffer view has ended, or cannot be reached. This page comes back when it is started again on the same port.",
  },
  refused: { text: "no token", notice: "The token is missing, or is not that of this server." },
  full: { text: "full", notice: "As many browsers as it takes look at this server. This page tries again." },
};

/** The views of the page, by the key that shows them. */
const VIEWS = { picture: "p", buffers: "b" } as const;
type View = keyof typeof VIEWS;

const KEYS: readonly (readonly [key: string, meaning: string])[] = [
  ["Space", "pause or play"],
  [".", "step: show the newest frame, and stop there"],
  ["s", "save the picture as PNG"],
  ["+ −", "zoom; also the wheel, and a double click"],
  ["0 1", "fit, one to one"],
  ["← ↑ ↓ →", "select another pixel, when the picture has the focus; with Shift ten further"],
  ["p b", "picture, buffers"],
  ["/", "filter the buffers"],
  ["Esc", "close what is open"],
];

let hasPicture = false;

const connection = new Connection({
  onState: (state) => {
    const { text, notice } = STATES[state];
    setText(byId("connection"), text);
    byId("connection").dataset.state = state;
    setText(byId("notice"), notice);
    byId("notice").hidden = notice === "";
    byId("ask-token").hidden = state !== "refused";
    document.body.dataset.connection = state;
  },
  onMessage: (message) => {
    if (message.type === "welcome") {
      hasPicture = message.buffer !== null;
      byId("go-picture").hidden = !hasPicture;
      document.title = hasPicture ? `${message.buffer} – zerobuffer view` : "zerobuffer view";
      const isHidden = byId("picture").hidden && byId("buffers").hidden;
      if (isHidden || (!hasPicture && byId("buffers").hidden)) show(hasPicture ? "picture" : "buffers");
      if (message.buffer !== null) picture.begin(message.buffer);
      inspectedBuffer = message.buffer ?? "";
    } else if (message.type === "writer") {
      picture.setWriter(message.state);
    } else if (message.type === "history") {
      buffers.setHistory(message.times, message.buffers);
    } else if (message.type === "overview") {
      buffers.update(message.atMs, message.buffers);
      picture.setArrived(message.arrived, message.atMs);
      const { times, all } = buffers.histories;
      picture.setHistory(times, all.get(inspectedBuffer));
    }
  },
  onFrame: (head, data) => picture.take(head, data),
});

let inspectedBuffer = "";
const picture = new Picture(connection);
const buffers = new Buffers((name) => connection.details(name));

function show(view: View): void {
  for (const name of Object.keys(VIEWS) as View[]) {
    byId(name).hidden = name !== view;
    const button = byId(`go-${name}`);
    if (name === view) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
  if (view === "buffers") buffers.show();
}

onPress("go-picture", () => show("picture"));
onPress("go-buffers", () => show("buffers"));
onPress("show-keys", () => byId<HTMLDialogElement>("keys").showModal());
onPress("close-keys", () => byId<HTMLDialogElement>("keys").close());
byId("key-list").append(
  ...KEYS.map(([key, meaning]) => element("div", {}, element("dt", {}, key), element("dd", {}, meaning))),
);

document.addEventListener("keydown", (event) => {
  const { target, key } = event;
  if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]") !== null)
    return;
  if (target instanceof HTMLInputElement) return;
  // A focused button is pressed by the space bar.
  if (target instanceof HTMLButtonElement && (key === " " || key === "Enter")) return;
  const action = actionOf(key);
  if (action === undefined) return;
  event.preventDefault();
  action();
});

function actionOf(key: string): (() => void) | undefined {
  if (key === "?") return () => byId<HTMLDialogElement>("keys").showModal();
  if (key === VIEWS.buffers) return () => show("buffers");
  if (key === VIEWS.picture) return hasPicture ? () => show("picture") : undefined;
  if (key === "/" && !byId("buffers").hidden) return () => byId("filter").focus();
  return byId("picture").hidden ? undefined : picture.keys[key];
}

byId("ask-token").addEventListener("submit", (event) => {
  event.preventDefault();
  start(byId<HTMLInputElement>("token").value.trim());
});

/** Connects with a token, and leaves it in the address, which no server sees: a page that is reloaded needs it. */
function start(token: string): void {
  if (location.hash !== `#${token}`) history.replaceState(null, "", `#${token}`);
  connection.start(token);
}

start(location.hash.slice(1));
addEventListener("hashchange", () => start(location.hash.slice(1)));
