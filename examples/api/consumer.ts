// Reads the frames of producer.ts, always the newest, and tells how old they are. Ends when the producer leaves.
//
//   bun examples/api/consumer.ts [BUFFER]

import { ageUs, Reader, readStamp, STAMP_SIZE, WriterDeadError } from "zerobuffer";

const [buffer = "gradient"] = process.argv.slice(2);
using reader = new Reader(buffer, { payloadSize: 16 * 1024 * 1024 });
console.log("waiting for a producer");

const ages: number[] = [];
try {
  for await (using frame of reader.frames({ latest: true })) {
    if (ages.length === 0) console.log(`receiving ${new TextDecoder().decode(reader.getMetadata())}`);
    ages.push(ageUs(readStamp(frame.data)));
    const picture = frame.data.subarray(STAMP_SIZE); // in shared memory until the end of this block
    if (ages.length % 60 === 0) console.log(`frame ${frame.sequence}: the first pixel is ${picture[0]}`);
  }
  console.log("the producer has left");
} catch (error) {
  if (!(error instanceof WriterDeadError)) throw error;
  console.log("the producer was killed");
}
const median = ages.sort((a, b) => a - b)[ages.length >> 1];
console.log(
  `${reader.framesRead} frames, ${reader.framesSkipped} skipped, ${median} microseconds old at the median`,
);
