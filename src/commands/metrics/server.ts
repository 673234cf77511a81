// Answers what asks for metrics.

import { explain } from "../../cli/failure.ts";
import { notListening } from "../../cli/listening.ts";
import type { Endpoint } from "../../cli/values.ts";
import { CONTENT_TYPES, type Format, formatFor } from "./exposition.ts";

const PATH = "/metrics";

/** A server that listens until it is disposed of. */
export class MetricsServer implements Disposable {
  readonly #server: Bun.Server<undefined>;

  /**
   * @param metrics makes the text in a format. What it throws is the answer.
   * @throws CommandError IO_ERROR if the address cannot be listened on.
   */
  constructor({ host, port }: Endpoint, metrics: (format: Format) => string) {
    try {
      this.#server = Bun.serve({
        hostname: host,
        port,
        development: false,
        // Without it, and with the line above, two servers share a port, and each gets some of the requests.
        reusePort: false,
        fetch: (request) => answer(request, metrics),
      });
    } catch (error) {
      throw notListening({ host, port }, error);
    }
  }

  /** Where the metrics are. */
  get address(): string {
    return new URL(PATH, this.#server.url).href;
  }

  [Symbol.dispose](): void {
    void this.#server.stop(true);
  }
}

function answer(request: Request, metrics: (format: Format) => string): Response {
  if (new URL(request.url).pathname !== PATH) return plainText(404, `Not found: the metrics are at ${PATH}.`);
  if (request.method !== "GET") return plainText(405, "Only GET is allowed.", { Allow: "GET" });
  const format = formatFor(request.headers.get("accept"));
  try {
    return new Response(metrics(format), {
      headers: { "Content-Type": CONTENT_TYPES[format], Vary: "Accept" },
    });
  } catch (error) {
    return plainText(500, explain(error).message);
  }
}

function plainText(status: number, text: string, headers: Readonly<Record<string, string>> = {}): Response {
  return new Response(`${text}\n`, {
    status,
    headers: { ...headers, "Content-Type": "text/plain; charset=utf-8" },
  });
}
