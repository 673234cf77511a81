// Messages of core NATS: the broker passes them on to those who listen, and keeps none.

import { HEADER_ROOM } from "../../frames/wire.ts";
import { type Broker, RETURN_MS } from "./broker.ts";
import { Garbage, MOST_OLD_BYTES } from "./garbage.ts";
import type { Courier, Message } from "./outbox.ts";

/** Publishes messages. */
export class CoreCourier implements Courier {
  readonly #broker: Broker;
  readonly #garbage = new Garbage(MOST_OLD_BYTES.sent);

  constructor(broker: Broker) {
    this.#broker = broker;
  }

  get room(): number {
    return this.#broker.maxPayload - HEADER_ROOM;
  }

  post({ subject, data, headers }: Message): void {
    this.#garbage.note(data.length);
    this.#broker.publish(subject, data, headers);
  }

  settle(): Promise<void> {
    return this.#broker.connection.flush();
  }

  /** Waits until the subscribers are back as well: they would miss what is sent before, and the end among it. */
  async recover(): Promise<void> {
    await Bun.sleep(RETURN_MS);
  }
}
