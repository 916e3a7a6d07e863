import { createHash, randomBytes } from "node:crypto";
import { system } from "@amqp-idioms/contracts";
import { definitionsOf } from "amqp-kit/derive";

const virtualHost = "/";

/** The definitions that the broker loads at its start: users, and their permissions derived from the system (rabbitmq.com/docs/definitions). */
export function definitions(passwords: Readonly<Record<string, string>>) {
  const derived = definitionsOf(system, { virtualHost });
  const all = { configure: ".*", write: ".*", read: ".*" };
  return {
    ...derived,
    users: Object.entries(passwords).map(([name, password]) => ({
      name,
      password_hash: hashed(password),
      hashing_algorithm: "rabbit_password_hashing_sha256",
      tags: name === "admin" ? ["administrator"] : [],
    })),
    permissions: [...derived.permissions, { user: "admin", vhost: virtualHost, ...all }],
  };
}

/** Four bytes of salt, then the SHA-256 of salt and password (rabbitmq.com/docs/passwords#computing-password-hash). */
function hashed(password: string): string {
  const salt = randomBytes(4);
  const hash = createHash("sha256").update(salt).update(password, "utf8").digest();
  return Buffer.concat([salt, hash]).toString("base64");
}
