// The JSON document of `zerobuffer duplex request`.

import { type Static, Type } from "typebox";
import { channel, count, emptyLinesSkipped, ending, figure, orNull } from "./common.ts";
import { percentilesTo999 } from "./latency.ts";

const latency = (description: string) => orNull(figure(`${description}; null if there was no response.`));

/** The document of `zerobuffer duplex request`. */
export const DuplexRequestDocument = Type.Object(
  {
    operation: Type.Literal("duplex-request"),
    channel,
    requests: count("Requests sent."),
    responses: count("Responses received within the timeout."),
    responses_shared: count("Of these, those that were not copied, but read in the request buffer."),
    timeouts: count("Requests without a response within the timeout."),
    cancelled: count(
      "Requests that were cancelled at the server: those without a response within the timeout.",
    ),
    lost: count("Requests in flight when their server went, with --follow."),
    verification_errors: count("Responses that failed --verify."),
    first_error_request: orNull(
      count("Number of the first request, from 0, whose response failed; null if none did."),
    ),
    bytes_sent: count("Bytes of the requests."),
    bytes_received: count("Bytes of the responses."),
    metadata_size: count("Bytes of metadata sent."),
    empty_lines_skipped: emptyLinesSkipped,
    duration_seconds: figure("Time from the first request to the last response."),
    requests_per_second: orNull(figure("Responses per second; null if no time passed.")),
    latency_us: Type.Object(
      {
        ...percentilesTo999(latency),
        max: latency("Longest"),
      },
      {
        additionalProperties: false,
        description:
          "Time from sending a request (with --rate: from when it was due) to its response, in microseconds.",
      },
    ),
    latency_histogram: Type.Array(
      Type.Object(
        {
          below_us: figure("Upper end of the range in microseconds; the lower end is half of it."),
          count: count("Responses in this range."),
        },
        { additionalProperties: false },
      ),
      {
        description: "Ranges from the shortest latency to the longest, each twice as long as the one before.",
      },
    ),
    ...ending,
  },
  { additionalProperties: false },
);
export type DuplexRequestDocument = Static<typeof DuplexRequestDocument>;
