// The JSON document of `zerobuffer duplex serve`.

import { type Static, Type } from "typebox";
import { channel, count, ending, figure } from "./common.ts";

/** The document of `zerobuffer duplex serve`. */
export const DuplexServeDocument = Type.Object(
  {
    operation: Type.Literal("duplex-serve"),
    channel,
    requests: count("Requests handled."),
    responses: count("Responses written."),
    handler_errors: count("Requests without a response because their handler failed."),
    clients: count("Clients that sent requests."),
    bytes_in: count("Bytes of the requests."),
    bytes_out: count("Bytes of the responses."),
    duration_seconds: figure("Time from the first request to the last."),
    ...ending,
  },
  { additionalProperties: false },
);
export type DuplexServeDocument = Static<typeof DuplexServeDocument>;
