// Draws a moving gradient in shared memory, 60 times per second. If its consumer is restarted, it continues with the next one.
//
//   bun examples/api/producer.ts [BUFFER [FRAMES]]

import { ReaderDeadError, STAMP_SIZE, stampFrame, Writer } from "zerobuffer";

const [buffer = "gradient", frames = "Infinity"] = process.argv.slice(2);
const [width, height, rate] = [640, 480, 60];
const metadata = new TextEncoder().encode(JSON.stringify({ format: "gray8", width, height }));

let writer = await Writer.connect(buffer, { connectTimeoutMs: Number.POSITIVE_INFINITY, metadata });
const start = performance.now();
for (let number = 0; number < Number(frames); number++) {
  try {
    const { data } = await writer.acquireFrameAsync(STAMP_SIZE + width * height);
    stampFrame(data, { number: BigInt(number) });
    for (let y = 0; y < height; y++)
      data.fill(y + number, STAMP_SIZE + y * width, STAMP_SIZE + (y + 1) * width);
    writer.commitFrame();
  } catch (error) {
    if (!(error instanceof ReaderDeadError)) throw error;
    console.log(`the consumer ${error.reason}, waiting for the next one`);
    writer = await writer.reconnect();
  }
  await Bun.sleep(Math.max(0, start + ((number + 1) * 1000) / rate - performance.now()));
}
writer.close();
