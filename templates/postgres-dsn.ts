/** How the node's host reaches the cluster's primary: every member is named, the one that takes writes is used. No password. */
import { CLUSTER_PORTS, type PostgresWalletDocument, TLS, tlsFiles } from "../scripts/host/contract.ts";

type Words = Record<string, string | number>;

/** Parameters of libpq (PostgreSQL's manual, "Parameter Key Words"). */
function parameters(application: string, server: "primary" | "read-write"): Words {
  const { key, certificate } = tlsFiles("node");
  return {
    target_session_attrs: server,
    // Seconds for each member; libpq takes no less than 2.
    connect_timeout: 2,
    // A primary that is gone without a word is noticed in seconds; milliseconds for tcp_user_timeout.
    tcp_user_timeout: 10_000,
    keepalives_idle: 5,
    keepalives_interval: 2,
    keepalives_count: 3,
    sslmode: "verify-full",
    sslrootcert: TLS.ca,
    sslcert: certificate,
    sslkey: key,
    application_name: application,
  };
}

/** As key words for psql(1). */
export function connectionWords(wallet: PostgresWalletDocument, user: string, application: string): string {
  const { members, role } = wallet;
  const words: Words = {
    host: members.map(({ address }) => address).join(","),
    port: CLUSTER_PORTS.postgres,
    dbname: role,
    user,
    // The gate's role writes nothing, so "read-write" would find no server for it.
    ...parameters(application, "primary"),
  };
  return Object.entries(words)
    .map(([name, value]) => `${name}=${value}`)
    .join(" ");
}

/** lightningd's wallet option. It logs the whole of it when it can't connect, and there is no secret in it. */
export function walletDsn({ members, role }: PostgresWalletDocument): string {
  const hosts = members.map(({ address }) => {
    const inUrl = address.includes(":") ? `[${address}]` : address;
    return `${inUrl}:${CLUSTER_PORTS.postgres}`;
  });
  const query = Object.entries(parameters("lightningd", "read-write"))
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
    .join("&");
  return `postgres://${encodeURIComponent(role)}@${hosts.join(",")}/${encodeURIComponent(role)}?${query}`;
}
