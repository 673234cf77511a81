// The JSON document of `zerobuffer duplex serve`.

import { type Static, Type } from "typebox";
import { agesUs, channel, count, ending, figure, withoutAge } from "./common.ts";

/** The document of `zerobuffer duplex serve`. */
export const DuplexServeDocument = Type.Object(
  {
    operation: Type.Literal("duplex-serve"),
    channel,
    requests: count("Requests handled."),
    responses: count("Responses written."),
    responses_shared: count(
      "Of these, those that were not copied, because the client reads them in the request buffer.",
    ),
    requests_cancelled: count("Requests that their client has taken back, which got no response."),
    handler_errors: count("Requests without a response because their handler failed."),
    clients: count("Clients that sent requests."),
    bytes_in: count("Bytes of the requests."),
    bytes_out: count("Bytes of the responses."),
    frames_without_age: withoutAge,
    age_us: agesUs,
    duration_seconds: figure("Time from the first request to the last."),
    ...ending,
  },
  { additionalProperties: false },
);
export type DuplexServeDocument = Static<typeof DuplexServeDocument>;
