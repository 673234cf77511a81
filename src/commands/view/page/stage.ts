// The place of the picture: zoom, moving it, and the pixel that is selected.

import { byId, setText } from "./dom.ts";

/** The largest zoom: screen pixels for one of the picture. */
const MOST_ZOOM = 64;
const ZOOM_STEP = 2 ** 0.5;

/** A pixel of the picture. */
export interface Place {
  readonly x: number;
  readonly y: number;
}

/** A wheel that turns by so much zooms by one step. */
const WHEEL_STEP = 240;

/** Shows a picture of any size. */
export class Stage {
  readonly #stage = byId("stage");
  readonly #paper = byId("paper");
  readonly #cursor = byId("cursor");
  readonly #onPlace: () => void;
  #size = { width: 0, height: 0 };
  /** Undefined: as large as fits. */
  #zoom: number | undefined;
  /** Where the middle of the stage is in the picture, in its pixels. */
  #middle = { x: 0, y: 0 };
  #place: Place | undefined;

  /** @param onPlace is called when another pixel is selected. */
  constructor(onPlace: () => void) {
    this.#onPlace = onPlace;
    this.#stage.tabIndex = 0;
    new ResizeObserver(() => this.#arrange()).observe(this.#stage);
    this.#stage.addEventListener("wheel", (event) => this.#turn(event), { passive: false });
    this.#stage.addEventListener("pointerdown", (event) => this.#grab(event));
    this.#stage.addEventListener("pointermove", (event) => this.#point(event));
    this.#stage.addEventListener("dblclick", () => this.zoomTo(this.#zoom === undefined ? 1 : undefined));
    this.#stage.addEventListener("keydown", (event) => this.#press(event));
  }

  /** The selected pixel. */
  get place(): Place | undefined {
    return this.#place;
  }

  /** Shows a canvas with a picture of this size. */
  show(canvas: HTMLCanvasElement, width: number, height: number): void {
    if (this.#paper.firstElementChild !== canvas) this.#paper.replaceChildren(canvas);
    if (width === this.#size.width && height === this.#size.height) return;
    this.#size = { width, height };
    this.#middle = { x: width / 2, y: height / 2 };
    this.#zoom = undefined;
    this.#select(undefined);
    this.#arrange();
  }

  /** Removes the picture. */
  clear(): void {
    this.#paper.replaceChildren();
    this.#size = { width: 0, height: 0 };
    this.#select(undefined);
  }

  /** Zooms by steps; the selected pixel stays where it is. */
  zoomBy(steps: number): void {
    const { x, y } = this.#place ?? this.#middle;
    this.zoomTo(this.#scale * ZOOM_STEP ** steps, { x, y });
  }

  /** @param zoom screen pixels for one of the picture; undefined: as large as fits. */
  zoomTo(zoom: number | undefined, at = this.#middle): void {
    if (zoom === undefined) {
      this.#zoom = undefined;
      this.#middle = { x: this.#size.width / 2, y: this.#size.height / 2 };
    } else {
      const before = this.#scale;
      this.#zoom = Math.min(MOST_ZOOM, Math.max(Math.min(1 / 16, this.#fit), zoom));
      // What is at `at` stays where it is.
      const factor = before / this.#zoom;
      this.#middle = {
        x: at.x + (this.#middle.x - at.x) * factor,
        y: at.y + (this.#middle.y - at.y) * factor,
      };
    }
    this.#arrange();
  }

  get #fit(): number {
    const { clientWidth, clientHeight } = this.#stage;
    const { width, height } = this.#size;
    return width === 0 ? 1 : Math.min(clientWidth / width, clientHeight / height);
  }

  get #scale(): number {
    return this.#zoom ?? this.#fit;
  }

  #arrange(): void {
    const { width, height } = this.#size;
    if (width === 0) return;
    const [scale, { clientWidth, clientHeight }] = [this.#scale, this.#stage];
    const bounded = (middle: number, length: number, room: number) => {
      const half = room / scale / 2;
      return length <= 2 * half ? length / 2 : Math.min(length - half, Math.max(half, middle));
    };
    this.#middle = {
      x: bounded(this.#middle.x, width, clientWidth),
      y: bounded(this.#middle.y, height, clientHeight),
    };
    const left = clientWidth / 2 - this.#middle.x * scale;
    const top = clientHeight / 2 - this.#middle.y * scale;
    Object.assign(this.#paper.style, {
      width: `${width}px`,
      height: `${height}px`,
      transform: `translate(${left}px, ${top}px) scale(${scale})`,
      imageRendering: scale >= 2 ? "pixelated" : "auto",
    });
    setText(byId("zoom"), `${Math.round(scale * 100)} %`);
    this.#cursor.hidden = this.#place === undefined;
    if (this.#place === undefined) return;
    Object.assign(this.#cursor.style, {
      width: `${Math.max(5, scale)}px`,
      height: `${Math.max(5, scale)}px`,
      transform: `translate(${left + this.#place.x * scale}px, ${top + this.#place.y * scale}px)`,
    });
  }

  /** Where an event is in the picture, in its pixels and parts of them. */
  #inPicture({ clientX, clientY }: MouseEvent): Place {
    const { left, top } = this.#stage.getBoundingClientRect();
    const { clientWidth, clientHeight } = this.#stage;
    return {
      x: this.#middle.x + (clientX - left - clientWidth / 2) / this.#scale,
      y: this.#middle.y + (clientY - top - clientHeight / 2) / this.#scale,
    };
  }

  #turn(event: WheelEvent): void {
    event.preventDefault();
    this.zoomTo(this.#scale * 2 ** (-event.deltaY / WHEEL_STEP), this.#inPicture(event));
  }

  #grab(event: PointerEvent): void {
    this.#stage.setPointerCapture(event.pointerId);
    this.#point(event);
  }

  #point(event: PointerEvent): void {
    const at = this.#inPicture(event);
    if (event.buttons === 1 && (event.movementX !== 0 || event.movementY !== 0) && this.#zoom !== undefined) {
      const scale = this.#scale;
      this.#middle = {
        x: this.#middle.x - event.movementX / scale,
        y: this.#middle.y - event.movementY / scale,
      };
      this.#arrange();
      return;
    }
    this.#select({ x: Math.floor(at.x), y: Math.floor(at.y) });
  }

  #press(event: KeyboardEvent): void {
    const moves: Readonly<Record<string, readonly [number, number]>> = {
      ArrowLeft: [-1, 0],
      ArrowRight: [1, 0],
      ArrowUp: [0, -1],
      ArrowDown: [0, 1],
    };
    const move = moves[event.key];
    if (move === undefined || this.#size.width === 0 || event.ctrlKey || event.altKey || event.metaKey)
      return;
    event.preventDefault();
    const by = event.shiftKey ? 10 : 1;
    const { width, height } = this.#size;
    const from = this.#place ?? { x: Math.floor(this.#middle.x), y: Math.floor(this.#middle.y) };
    const x = Math.min(width - 1, Math.max(0, from.x + move[0] * by));
    const y = Math.min(height - 1, Math.max(0, from.y + move[1] * by));
    this.#select({ x, y });
    this.#reveal({ x, y });
  }

  /** Moves the picture so far that a pixel is in sight. */
  #reveal({ x, y }: Place): void {
    const { clientWidth, clientHeight } = this.#stage;
    const near = (middle: number, at: number, room: number) => {
      const half = Math.max(1, room / this.#scale / 2 - 1);
      return Math.min(at + half, Math.max(at - half, middle));
    };
    this.#middle = { x: near(this.#middle.x, x, clientWidth), y: near(this.#middle.y, y, clientHeight) };
    this.#arrange();
  }

  #select(place: Place | undefined): void {
    const { width, height } = this.#size;
    const isInside =
      place !== undefined && place.x >= 0 && place.y >= 0 && place.x < width && place.y < height;
    this.#place = isInside ? place : undefined;
    this.#arrange();
    this.#onPlace();
  }
}
