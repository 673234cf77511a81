// Draws pictures: their bytes go to the graphics processor as they are, and a shader finds the samples of each pixel.

import { type Colour, conversionOf, type PixelLayout, storeRgba } from "../../../frames/pixels.ts";

/** Something that draws pictures on a canvas of their size. */
export interface Painter {
  readonly canvas: HTMLCanvasElement;
  /** False: it cannot draw this one. */
  draw(layout: PixelLayout, data: Uint8Array<ArrayBuffer>, colour: Colour): boolean;
}

const VERTICES = `#version 300 es
void main() { gl_Position = vec4(vec2[](vec2(-1, -1), vec2(3, -1), vec2(-1, 3))[gl_VertexID], 0, 1); }`;

/** The bytes of a frame are in rows of a texture; a sample is at `start + (y >> shift.y) * stride + (x >> shift.x) * step`. */
const PIXELS = `#version 300 es
precision highp float;
precision highp int;
precision highp usampler2D;
uniform usampler2D bytes;
uniform int rowShift;
uniform int height;
uniform int high;
uniform ivec3 places[3];
uniform ivec2 shifts[3];
uniform mat3 rows;
uniform vec3 offsets;
out vec4 colour;

float byteAt(int at) {
  return float(texelFetch(bytes, ivec2(at & ((1 << rowShift) - 1), at >> rowShift), 0).r);
}

float sampleAt(int i, ivec2 pixel) {
  ivec2 cell = pixel >> shifts[i];
  int at = places[i].x + cell.y * places[i].y + cell.x * places[i].z;
  if (high < 0) return byteAt(at);
  return byteAt(at + high) * 256.0 + byteAt(at + 1 - high);
}

void main() {
  ivec2 pixel = ivec2(gl_FragCoord.xy);
  pixel.y = height - 1 - pixel.y;
  vec3 samples = vec3(sampleAt(0, pixel), sampleAt(1, pixel), sampleAt(2, pixel));
  colour = vec4((samples * rows + offsets) / 255.0, 1.0);
}`;

/** Draws with WebGL2. */
export class GlPainter implements Painter {
  readonly canvas = document.createElement("canvas");
  readonly #gl: WebGL2RenderingContext;
  readonly #program: WebGLProgram;
  readonly #rowShift: number;
  readonly #most: number;
  #texture: WebGLTexture | null = null;
  #rows = 0;

  private constructor(gl: WebGL2RenderingContext, canvas: HTMLCanvasElement) {
    this.canvas = canvas;
    this.#gl = gl;
    this.#most = gl.getParameter(gl.MAX_TEXTURE_SIZE);
    this.#rowShift = Math.min(13, Math.floor(Math.log2(this.#most)));
    this.#program = programOf(gl);
    gl.useProgram(this.#program);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.bindVertexArray(gl.createVertexArray());
  }

  /** Undefined if the browser has no WebGL2, or has to emulate it. */
  static open(): GlPainter | undefined {
    const canvas = document.createElement("canvas");
    // What was drawn stays for saving.
    const gl = canvas.getContext("webgl2", {
      alpha: false,
      antialias: false,
      depth: false,
      preserveDrawingBuffer: true,
    });
    try {
      return gl === null || isEmulated(gl) ? undefined : new GlPainter(gl, canvas);
    } catch (error) {
      console.warn("There is no WebGL2 to draw with:", error);
      return undefined;
    }
  }

  draw(layout: PixelLayout, data: Uint8Array<ArrayBuffer>, colour: Colour): boolean {
    const gl = this.#gl;
    const { width, height } = layout;
    const bytesPerRow = 1 << this.#rowShift;
    const rows = Math.ceil(data.length / bytesPerRow);
    if (gl.isContextLost() || Math.max(width, height, rows) > this.#most) return false;
    if (this.canvas.width !== width || this.canvas.height !== height)
      Object.assign(this.canvas, { width, height });
    if (gl.drawingBufferWidth !== width || gl.drawingBufferHeight !== height) return false;
    gl.viewport(0, 0, width, height);
    this.#upload(data, bytesPerRow, rows);
    this.#describe(layout, colour);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    return true;
  }

  #upload(data: Uint8Array<ArrayBuffer>, bytesPerRow: number, rows: number): void {
    const gl = this.#gl;
    if (rows !== this.#rows) {
      gl.deleteTexture(this.#texture);
      this.#texture = gl.createTexture();
      gl.bindTexture(gl.TEXTURE_2D, this.#texture);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
      gl.texStorage2D(gl.TEXTURE_2D, 1, gl.R8UI, bytesPerRow, rows);
      this.#rows = rows;
    }
    const whole = Math.floor(data.length / bytesPerRow);
    const put = (row: number, width: number, height: number) =>
      gl.texSubImage2D(
        ...([gl.TEXTURE_2D, 0, 0, row, width, height, gl.RED_INTEGER, gl.UNSIGNED_BYTE] as const),
        data.subarray(row * bytesPerRow),
      );
    if (whole > 0) put(0, bytesPerRow, whole);
    if (rows > whole) put(whole, data.length - whole * bytesPerRow, 1);
  }

  #describe(layout: PixelLayout, colour: Colour): void {
    const gl = this.#gl;
    const { samples, bytesPerSample, isBigEndian, height } = layout;
    const { rows, offsets } = conversionOf(layout, colour);
    const three = [0, 1, 2].flatMap((i) => samples[i] ?? samples[0] ?? []);
    const at = (name: string) => gl.getUniformLocation(this.#program, name);
    gl.uniform1i(at("rowShift"), this.#rowShift);
    gl.uniform1i(at("height"), height);
    gl.uniform1i(at("high"), bytesPerSample === 1 ? -1 : isBigEndian ? 0 : 1);
    gl.uniform3iv(
      at("places"),
      three.flatMap(({ start, stride, step }) => [start, stride, step]),
    );
    gl.uniform2iv(
      at("shifts"),
      three.flatMap(({ columnShift, rowShift }) => [columnShift, rowShift]),
    );
    gl.uniformMatrix3fv(at("rows"), false, rows.flat());
    gl.uniform3fv(at("offsets"), offsets);
  }
}

/** Whether there is no graphics processor behind it: then drawing with the processor itself is several times as fast. */
function isEmulated(gl: WebGL2RenderingContext): boolean {
  const details = gl.getExtension("WEBGL_debug_renderer_info");
  const renderer = details === null ? "" : `${gl.getParameter(details.UNMASKED_RENDERER_WEBGL)}`;
  return /SwiftShader|llvmpipe|softpipe|Basic Render/i.test(renderer);
}

function programOf(gl: WebGL2RenderingContext): WebGLProgram {
  const program = gl.createProgram();
  for (const [type, source] of [
    [gl.VERTEX_SHADER, VERTICES],
    [gl.FRAGMENT_SHADER, PIXELS],
  ] as const) {
    const shader = gl.createShader(type);
    if (shader === null) throw new Error("no shader");
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader) ?? "");
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) ?? "");
  return program;
}

/** Draws with the processor. */
export class CanvasPainter implements Painter {
  readonly canvas = document.createElement("canvas");
  // Pixels that are read stay in memory: each picture would be moved to a graphics processor that may not be there.
  readonly #context = this.canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  #image: ImageData | undefined;

  draw(layout: PixelLayout, data: Uint8Array<ArrayBuffer>, colour: Colour): boolean {
    const { width, height } = layout;
    const context = this.#context;
    try {
      const isOther = this.#image?.width !== width || this.#image.height !== height;
      if (isOther) Object.assign(this.canvas, { width, height });
      if (isOther || this.#image === undefined) this.#image = new ImageData(width, height);
      storeRgba(layout, data, colour, this.#image.data);
      context?.putImageData(this.#image, 0, 0);
      // A canvas that is too large takes everything, and has nothing.
      return !isOther || context?.getImageData(width - 1, height - 1, 1, 1).data[3] === 255;
    } catch {
      this.#image = undefined;
      return false;
    }
  }
}

/** The painters there are, the fastest first. */
export function painters(): readonly Painter[] {
  const gl = GlPainter.open();
  return gl === undefined ? [new CanvasPainter()] : [gl, new CanvasPainter()];
}

/** The pixels of an encoded picture, red, green, blue and alpha, and their layout's size. Rejects if it cannot be decoded. */
export async function decode(
  data: Uint8Array<ArrayBuffer>,
  type: string,
): Promise<{ width: number; height: number; pixels: Uint8Array<ArrayBuffer> }> {
  const bitmap = await createImageBitmap(new Blob([data], { type }), { colorSpaceConversion: "none" });
  try {
    const { width, height } = bitmap;
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context?.drawImage(bitmap, 0, 0);
    const image = context?.getImageData(0, 0, width, height);
    if (image === undefined) throw new Error("no canvas");
    return { width, height, pixels: new Uint8Array(image.data.buffer) };
  } finally {
    bitmap.close();
  }
}
