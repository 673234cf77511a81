// What the server and the page tell each other. The page sends its token first; the server sends nothing before.
//
// A frame is two messages: its head as text, then its bytes.

import type { Encoding } from "../../frames/encoded.ts";
import type { Colour } from "../../frames/pixels.ts";
import type { TopEntry } from "../../schemas/top.ts";
import type { History } from "./histories.ts";

/** Where the socket is. */
export const SOCKET_PATH = "/socket";

/** Where the details of a buffer are, before its name. They need the token as the header `Authorization: Bearer TOKEN`. */
export const DETAILS_PATH = "/inspect/";

/** Why the server closes a socket. */
export const CloseCode = {
  /** The server ends, and may come back. */
  ENDED: 1001,
  /** The token is wrong, or did not come in time. */
  REFUSED: 4001,
  /** There are enough browsers. */
  FULL: 4002,
} as const;

/** How often the buffers are looked at, in milliseconds. */
export const LOOK_MS = 1000;

/** How a frame is to be shown. */
export type Sight =
  | {
      readonly kind: "raw";
      readonly width: number;
      readonly height: number;
      /** GStreamer's name. */
      readonly format: string;
      readonly colour: Colour;
    }
  | { readonly kind: Encoding }
  /** `reason` is a sentence: why it is no picture. */
  | { readonly kind: "bytes"; readonly reason: string };

/** What is told of a frame before its bytes. */
export interface FrameHead {
  readonly type: "frame";
  /** Its number in the buffer, from 1. */
  readonly sequence: number;
  /** The number in its stamp; null without one. */
  readonly stampNumber: number | null;
  /** The time in its stamp, in milliseconds since 1970; null without one. */
  readonly stampMs: number | null;
  /** Frames that have come so far, this one and those that were skipped included. */
  readonly arrived: number;
  /** When this one came, in milliseconds since 1970. */
  readonly atMs: number;
  /** Bytes of the whole frame. */
  readonly size: number;
  /** Bytes in front of what is sent: a stamp, or those that are to be skipped. */
  readonly skipped: number;
  readonly sight: Sight;
}

/** What the writer of the buffer does. */
export type WriterState = "awaited" | "connected" | "left" | "died";

/** What the server sends as text. */
export type ServerMessage =
  /** The token is right. */
  | { readonly type: "welcome"; readonly buffer: string | null; readonly version: string }
  | { readonly type: "writer"; readonly state: WriterState }
  /** Everything until now, once. `times` are in milliseconds since 1970. */
  | {
      readonly type: "history";
      readonly times: readonly number[];
      readonly buffers: Readonly<Record<string, History>>;
    }
  /** How many frames have come, and all buffers; before the first look at them `atMs` is 0. */
  | {
      readonly type: "overview";
      readonly atMs: number;
      readonly arrived: number;
      readonly buffers: readonly TopEntry[];
    }
  /** The answer to a ping: the server's clock, in milliseconds since 1970. */
  | { readonly type: "clock"; readonly ms: number }
  | FrameHead;

/** What the page sends. */
export type PageMessage =
  | { readonly token: string }
  /** Whether it takes another frame: it does when it is about to draw the last one, and not when it is paused. */
  | { readonly ready: boolean }
  | { readonly ping: true };
