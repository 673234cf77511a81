// The JSON document of `zerobuffer duplex request`.

import { type Static, Type } from "typebox";
import { channel, count, emptyLinesSkipped, ending, figure, orNull } from "./common.ts";
import { percentilesTo999 } from "./latency.ts";

const latency = (description: string) => orNull(figure(`${description}; null without a response.`));

/** The document of `zerobuffer duplex request`. */
export const DuplexRequestDocument = Type.Object(
  {
    operation: Type.Literal("duplex-request"),
    channel,
    requests: count("Requests sent."),
    responses: count("Responses received in time."),
    timeouts: count("Requests without a response in time."),
    verification_errors: count("Responses that are not as --verify wants them."),
    first_error_request: orNull(count("Number of the first such request, from 0; null if there is none.")),
    bytes_sent: count("Bytes of the requests."),
    bytes_received: count("Bytes of the responses."),
    metadata_size: count("Bytes of metadata sent."),
    empty_lines_skipped: emptyLinesSkipped,
    duration_seconds: figure("From the first request to the last response."),
    requests_per_second: orNull(figure("Responses a second; null where no time passed.")),
    latency_us: Type.Object(
      {
        ...percentilesTo999(latency),
        max: latency("Longest"),
      },
      {
        additionalProperties: false,
        description:
          "From the sending of a request (with --rate: from when it was due) to its response, in microseconds.",
      },
    ),
    latency_histogram: Type.Array(
      Type.Object(
        {
          below_us: figure("Upper end of the range in microseconds; the lower end is half of it."),
          count: count("Responses that took that long."),
        },
        { additionalProperties: false },
      ),
      { description: "A range for each doubling, from the shortest latency to the longest." },
    ),
    ...ending,
  },
  { additionalProperties: false },
);
export type DuplexRequestDocument = Static<typeof DuplexRequestDocument>;
