import { bufferMade, uniqueName } from "../support/buffers.ts";
import { Child } from "../support/process.ts";

/** Moves frames from a writer to a reader, both with --json-output. */
export async function transfer(writerArgs: readonly string[], readerArgs: readonly string[]) {
  const name = uniqueName();
  await using reader = Child.cli(["reader", name, "--buffer-size", "1MiB", "--json-output", ...readerArgs]);
  await bufferMade(name);
  await using writer = Child.cli(["writer", name, "--json-output", ...writerArgs]);
  const [written, read] = await Promise.all([writer.report(), reader.report()]);
  return { name, written, read };
}
