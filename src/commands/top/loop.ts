// Watches all buffers on the terminal until a key or a signal ends it.

import { FullScreen, type Key } from "../../cli/full-screen.ts";
import { Sampler } from "../../cli/sampling.ts";
import { untilNextUpdate } from "../../cli/screen.ts";
import type { Session } from "../../cli/session.ts";
import { roomFor, screenOf } from "./drawing.ts";
import { Model } from "./model.ts";

/** Shows all buffers. Returns once the user leaves. */
export async function watchOnScreen(intervalMs: number, session: Session): Promise<void> {
  const model = new Model();
  const sampler = new Sampler();
  const left = Promise.withResolvers<void>();
  let isLeft = false;
  const draw = () => screen.show(screenOf(model, screen.size, screen.style, screen.hasKeys));
  const onKey = (key: Key) => {
    isLeft ||= model.press(key, roomFor(screen.size));
    if (isLeft) left.resolve();
    else draw();
  };
  // The first look at many buffers takes a second: until then the terminal stays as it was.
  model.update(sampler.look(), performance.now());
  const screen: FullScreen = await FullScreen.open(session, { onKey, onResize: () => draw() });
  try {
    draw();
    for (;;) {
      await Promise.race([left.promise, untilNextUpdate(intervalMs, session.signal)]);
      if (isLeft) return;
      const now = performance.now();
      model.update(sampler.look(now), now);
      draw();
    }
  } finally {
    await screen.settle();
  }
}
