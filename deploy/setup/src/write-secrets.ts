import { join } from "node:path";
import { writeCertificates } from "./certificates.ts";
import { definitions } from "./definitions.ts";
import { brokerUsers, databaseHost, passwords, put, services, withDatabase } from "./secrets.ts";
import { brokers, type Environment, secretsFolder } from "./settings.ts";

/** Writes the files of all containers. @returns a log message */
export async function writeSecrets(environment: Environment): Promise<string> {
  const folder = secretsFolder(environment);
  const nodes = brokers(environment);
  const clients = [...services, "operator"];
  const { broker, database, erlangCookie } = await passwords(folder);
  for (const user of clients) {
    const urls = nodes.map((url) => withLogin(url, user, broker[user]));
    await put(join(folder, user, "amqp-url"), urls.join(","));
  }
  for (const user of withDatabase) {
    const url = new URL(`postgres://${databaseHost}/${user}`);
    await put(join(folder, user, "database-url"), withLogin(url, user, database[user]));
  }
  await put(join(folder, "rabbitmq", "definitions.json"), JSON.stringify(definitions(broker), undefined, 2));
  await put(join(folder, "rabbitmq", "erlang-cookie"), erlangCookie);
  await put(join(folder, "postgres", "password"), database["postgres"] ?? "");
  if (nodes.some(({ protocol }) => protocol === "amqps:")) {
    await writeCertificates(
      folder,
      nodes.map(({ hostname }) => hostname),
      [...clients, "rabbitmq"],
    );
  }
  return `broker users: ${brokerUsers.join(", ")}; database users: ${withDatabase.join(", ")}`;
}

function withLogin(url: URL, user: string, password = ""): string {
  const complete = new URL(url);
  complete.username = user;
  complete.password = password;
  return complete.href;
}
