/** Arguments of queues, exchanges and policies, such as `{ "x-max-length": 10 }`. */
export type Arguments = Record<string, string | number | boolean>;

export interface QueueInfo {
  name: string;
  type: string;
  /** The node of the queue or of its leader: `rabbit@host` */
  node: string;
  /** Only for quorum queues */
  members?: string[];
  durable: boolean;
  auto_delete: boolean;
  exclusive: boolean;
  arguments: Arguments;
  /** Counts are missing until the broker has gathered them, up to a second after the queue was declared. */
  messages?: number;
  messages_ready?: number;
  messages_unacknowledged?: number;
  consumers?: number;
}

export interface ExchangeInfo {
  name: string;
  type: string;
  durable: boolean;
  auto_delete: boolean;
  internal: boolean;
  arguments: Arguments;
}

export interface BindingInfo {
  source: string;
  destination: string;
  destination_type: "queue" | "exchange";
  routing_key: string;
  arguments: Arguments;
}

export interface ConsumerInfo {
  consumer_tag: string;
  queue: { name: string };
  ack_required: boolean;
  exclusive: boolean;
  prefetch_count: number;
  channel_details: { name: string; connection_name: string };
}

export interface ConnectionInfo {
  name: string;
  user: string;
  state?: string;
  channels?: number;
  client_properties?: Record<string, unknown>;
}

export interface ChannelInfo {
  name: string;
  number: number;
  consumer_count?: number;
  messages_unacknowledged?: number;
  messages_unconfirmed?: number;
  connection_details?: { name: string };
}

export interface FetchedMessage {
  payload: string;
  payload_encoding: "string" | "base64";
  exchange: string;
  routing_key: string;
  redelivered: boolean;
  message_count: number;
  properties: { headers?: Record<string, unknown> } & Record<string, unknown>;
}

export interface Permissions {
  vhost: string;
  /** Regular expressions for the names of exchanges and queues; "" permits nothing. */
  configure: string;
  write: string;
  read: string;
}
