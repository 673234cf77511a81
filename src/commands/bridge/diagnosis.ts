// What doctor finds out about a NATS server.

import { CommandError } from "../../cli/failure.ts";
import { bytesText, count } from "../../cli/format.ts";
import type { Session } from "../../cli/session.ts";
import type { DoctorDocument } from "../../schemas/doctor.ts";
import { Broker } from "./broker.ts";
import { isTemporary } from "./errors.ts";
import type { Access } from "./options.ts";
import { JetStream } from "./stream.ts";

type Finding = DoctorDocument["checks"][number];

/** What was found, and what keeps bridges from working, if anything does. */
interface Diagnosis {
  readonly findings: readonly Finding[];
  readonly failure: CommandError | undefined;
}

const SERVER = "NATS server";
const JETSTREAM = "JetStream";

/** Looks at a server: whether it answers, how large its messages may be, and whether it has JetStream. */
export async function diagnoseBroker(access: Access, session: Session): Promise<Diagnosis> {
  const startedAt = performance.now();
  try {
    const broker = await Broker.connect(access, 0, session, false);
    await broker.race(broker.connection.flush());
    const tookMs = (performance.now() - startedAt).toFixed(0);
    const version = broker.connection.info?.version ?? "of unknown version";
    const server: Finding = {
      check: SERVER,
      status: "ok",
      message: `${broker.shown} answers in ${tookMs} ms: version ${version}, messages of up to ${count(broker.maxPayload, "bytes")} (max_payload)`,
      remedy: null,
    };
    return { findings: [server, await diagnoseJetStream(broker)], failure: undefined };
  } catch (error) {
    if (!(error instanceof CommandError) || error.code === "INTERRUPTED") throw error;
    const { message } = error;
    const finding: Finding = {
      check: SERVER,
      status: "error",
      message: message.replace(/\.$/, ""),
      remedy: null,
    };
    return { findings: [finding], failure: error };
  }
}

async function diagnoseJetStream(broker: Broker): Promise<Finding> {
  try {
    const { manager } = await JetStream.open(broker);
    const { storage, memory, limits } = await broker.race(manager.getAccountInfo());
    const limit =
      limits.max_storage < 0 ? "no limit for this account" : `at most ${bytesText(limits.max_storage)}`;
    return {
      check: JETSTREAM,
      status: "ok",
      message: `${bytesText(storage)} in files (${limit}), ${bytesText(memory)} in memory`,
      remedy: null,
    };
  } catch (error) {
    if (error instanceof CommandError && error.code === "INTERRUPTED") throw error;
    const message = isTemporary(error) ? "it is not there" : (error as Error).message.replace(/\.$/, "");
    return {
      check: JETSTREAM,
      status: "warning",
      message: `${message}: --stream cannot be used`,
      remedy: "nats-server -js",
    };
  }
}
