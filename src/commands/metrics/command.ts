// zerobuffer metrics: what Prometheus asks for, of every buffer on this machine.

import { defineCommand } from "../../cli/command.ts";
import { endpoint, jsonLines, outputOptions } from "../../cli/options.ts";
import { Sampler } from "../../cli/sampling.ts";
import type { Session } from "../../cli/session.ts";
import { Descriptor, print } from "../../cli/terminal.ts";
import type { Endpoint } from "../../cli/values.ts";
import { raceAbort } from "../../runtime/abort.ts";
import type { MetricsDocument } from "../../schemas/metrics.ts";
import { textOf } from "./exposition.ts";
import { familiesOf } from "./families.ts";
import { MetricsServer } from "./server.ts";

const args = {
  listen: endpoint({
    group: "Serving",
    description: "serve the metrics there until interrupted",
    note: "--listen PORT listens on 127.0.0.1. Port 0 takes a free one: the address is printed.",
  }),
  ...outputOptions,
  jsonLines,
};

export default defineCommand({
  meta: {
    name: "metrics",
    description:
      "Prints metrics of every buffer for Prometheus, as OpenMetrics text. With --listen it serves them at /metrics.",
  },
  args,
  examples: [
    {
      purpose: "serve the metrics to a Prometheus on this machine",
      line: "zerobuffer metrics --listen 127.0.0.1:9464",
    },
    {
      purpose: "have the textfile collector of the node exporter pick them up",
      line: "zerobuffer metrics > zerobuffer.prom.new && mv zerobuffer.prom.new zerobuffer.prom",
    },
  ],

  blank: (): MetricsDocument => ({
    operation: "metrics",
    address: null,
    scrapes: 0,
    families: [],
    errors: [],
  }),

  async run({ listen, jsonOutput }, session, document) {
    if (listen === undefined) document.families = familiesOf(new Sampler().look(), false);
    else await serve(listen, jsonOutput, session, document);
  },

  summarize: ({ families }, _, failed) =>
    failed || families.length === 0 ? [] : [textOf(families, "openMetrics").trimEnd()],
});

/** Serves until it is interrupted. Looks at the buffers when it is asked, and never in between. */
async function serve(
  endpoint: Endpoint,
  jsonOutput: boolean,
  session: Session,
  document: MetricsDocument,
): Promise<void> {
  const sampler = new Sampler();
  const server = session.own(
    new MetricsServer(endpoint, (format) => {
      document.scrapes++;
      session.log?.info(`Scrape ${document.scrapes}.`);
      return textOf(familiesOf(sampler.look(), true), format);
    }),
  );
  document.address = server.address;
  if (session.events !== undefined) session.events.emit("ready", { address: server.address });
  else if (!jsonOutput) await print(Descriptor.STDOUT, `Listening on ${server.address}\n`);
  await raceAbort(new Promise<never>(() => {}), session.signal);
}
