/** Which certificate PostgreSQL and Patroni's REST API show: they read theirs when they are told to, and a renewal can end before it tells them. */
import { X509Certificate } from "node:crypto";
import { connect } from "node:tls";
import { CLUSTER_PORTS, tlsFiles } from "../contract.ts";
import { readText } from "../read.ts";

const TIMEOUT_MS = 2000;
/** Patroni speaks HTTP; PostgreSQL 17 takes TLS at once from whoever names its protocol (libpq's sslnegotiation=direct). */
const PORTS = [
  { port: CLUSTER_PORTS.patroni, protocols: [] },
  { port: CLUSTER_PORTS.postgres, protocols: ["postgresql"] },
];

/** SHA-256 of what a port of this host shows; undefined if it shows nothing. It is looked at and not trusted. */
function readShown(port: number, protocols: string[]): Promise<string | undefined> {
  return new Promise((resolve) => {
    const options = { host: "127.0.0.1", port, rejectUnauthorized: false, timeout: TIMEOUT_MS };
    const socket = connect({ ...options, ...(protocols.length > 0 ? { ALPNProtocols: protocols } : {}) }, () => {
      resolve(socket.getPeerCertificate().fingerprint256);
      socket.destroy();
    });
    socket.on("timeout", () => socket.destroy());
    socket.on("error", () => resolve(undefined));
    socket.on("close", () => resolve(undefined));
  });
}

/** Ports of this host's member that show another certificate than the one on the disk. */
export async function readOtherCertificate(): Promise<number[]> {
  const text = await readText(tlsFiles("postgres").certificate);
  if (text === undefined) return [];
  const { fingerprint256 } = new X509Certificate(text);
  const shown = await Promise.all(PORTS.map(({ port, protocols }) => readShown(port, protocols)));
  return PORTS.filter((_, index) => ![undefined, fingerprint256].includes(shown[index])).map(({ port }) => port);
}
