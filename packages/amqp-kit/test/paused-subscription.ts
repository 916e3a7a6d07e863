import type { VirtualHost } from "@amqp-idioms/local-servers";
import { billingQueue } from "./orders.ts";

/** What a handler needs, and can be away. */
export class Shelf {
  isThere = true;
  readonly asked: number[] = [];

  isAvailable = async (): Promise<boolean> => {
    this.asked.push(performance.now());
    return this.isThere;
  };

  use(): void {
    if (!this.isThere) throw new Error("no shelf");
  }
}

export const state = (vhost: VirtualHost): Promise<unknown> => vhost.management.queue(vhost.name, billingQueue);
