// The JSON schemas of the documents, by the name of their published file. Commands import only the types of these files:
// nothing loads them at run time.

import { BenchDocument } from "./bench.ts";
import { BridgePublishDocument } from "./bridge-publish.ts";
import { BridgeSubscribeDocument } from "./bridge-subscribe.ts";
import { CleanDocument } from "./clean.ts";
import { CompleteDocument } from "./complete.ts";
import { CompletionDocument } from "./completion.ts";
import { DoctorDocument } from "./doctor.ts";
import { DuplexRequestDocument } from "./duplex-request.ts";
import { DuplexServeDocument } from "./duplex-serve.ts";
import { EventDocument } from "./event.ts";
import { InspectDocument } from "./inspect.ts";
import { ListDocument } from "./list.ts";
import { MetricsDocument } from "./metrics.ts";
import { ProgramDocument } from "./program.ts";
import { ReaderDocument } from "./reader.ts";
import { RecordDocument } from "./record.ts";
import { RelayDocument } from "./relay.ts";
import { ReplayDocument } from "./replay.ts";
import { TopDocument } from "./top.ts";
import { ViewDocument } from "./view.ts";
import { WriterDocument } from "./writer.ts";

/** The published schemas. */
export const documents = {
  writer: WriterDocument,
  reader: ReaderDocument,
  relay: RelayDocument,
  record: RecordDocument,
  replay: ReplayDocument,
  "duplex-serve": DuplexServeDocument,
  "duplex-request": DuplexRequestDocument,
  "bridge-publish": BridgePublishDocument,
  "bridge-subscribe": BridgeSubscribeDocument,
  bench: BenchDocument,
  top: TopDocument,
  view: ViewDocument,
  metrics: MetricsDocument,
  list: ListDocument,
  inspect: InspectDocument,
  clean: CleanDocument,
  doctor: DoctorDocument,
  completion: CompletionDocument,
  complete: CompleteDocument,
  program: ProgramDocument,
  event: EventDocument,
};
