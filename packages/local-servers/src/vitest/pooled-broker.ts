import type { RabbitMq, RabbitMqSource } from "../rabbitmq/broker.ts";
import { ask, type BrokerAction } from "./run-api.ts";

/** Leases a broker of the pool, which the main process drives for this worker. `close` releases it. */
export async function leaseBroker(from: readonly RabbitMqSource[]): Promise<RabbitMq> {
  const { id, ...facts } = await ask("lease-broker", { from });
  const act =
    (action: BrokerAction) =>
    (...parameters: unknown[]): Promise<void> =>
      ask("broker-action", { id, action, parameters });
  const close = (): Promise<void> => ask("release-broker", { id });
  return {
    ...facts,
    tlsUrl: undefined,
    start: act("start"),
    stop: act("stop"),
    restart: act("restart"),
    kill: act("kill"),
    freeze: act("freeze"),
    thaw: act("thaw"),
    raiseMemoryAlarm: act("raiseMemoryAlarm"),
    clearMemoryAlarm: act("clearMemoryAlarm"),
    setConsumerTimeout: act("setConsumerTimeout"),
    raiseDiskAlarm: act("raiseDiskAlarm"),
    clearDiskAlarm: act("clearDiskAlarm"),
    deleteQueue: act("deleteQueue"),
    close,
    [Symbol.asyncDispose]: close,
  };
}
