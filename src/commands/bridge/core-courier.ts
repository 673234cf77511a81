// Messages of core NATS: the broker passes them on to those who listen, and keeps none.

import { HEADER_ROOM } from "../../frames/wire.ts";
import type { Broker } from "./broker.ts";
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

  async recover(): Promise<void> {}
}
