/** `./twofold certificates renew`: the cluster's certificates made anew, one host after the other; keys stay where they are. */
import { certificatesOf, type HostCertificates } from "../../components/topology/certificates.ts";
import { EXIT } from "../host/contract.ts";
import { Refusal } from "../host/stage.ts";
import type { Requests, Signed } from "../host/tls/store.ts";
import { ask } from "./ask.ts";
import { Failure } from "./failure.ts";
import { loadStack } from "./load.ts";
import type { StackChoice } from "./locate.ts";
import type { Host } from "./ssh.ts";

export async function renewCertificates(options: StackChoice & { json?: true }): Promise<number> {
  const stack = loadStack(options);
  const wanted = certificatesOf(new Map(stack.hosts.map((host) => [host.name, stack.documents(host)])));
  if (wanted.length === 0)
    throw new Refusal({
      code: "TLS-NONE",
      what: "this stack has no certificates",
      received: "a wallet that is not in PostgreSQL",
      why: "there is nothing to renew",
      fix: "./twofold check looks for everything that differs from the config",
    });
  const renewed: { host: string; written: string[] }[] = [];
  for (const one of wanted) {
    // One host at a time: what is wrong with the first is not done to the others.
    const { written } = await renewHost(stack.host(one.host), stack.host(one.authority), one);
    process.stderr.write(`${one.host}: new certificates for ${written.join(", ")}\n`);
    renewed.push({ host: one.host, written });
  }
  if (options.json) process.stdout.write(`${JSON.stringify({ stack: stack.name, hosts: renewed })}\n`);
  return EXIT.ok;
}

async function renewHost(
  host: Host,
  authority: Host,
  { cluster, identities }: HostCertificates,
): Promise<{ written: string[] }> {
  const { requests } = await must<Requests>(host, ["tls-request"], { host: host.name, identities });
  const signed = await must<Signed>(authority, ["tls-sign"], { cluster, identities, requests });
  return must(host, ["tls-install", "--renew"], { identities, ...signed });
}

/** @throws {Failure} if the host doesn't do it */
async function must<T>(host: Host, words: string[], input: unknown): Promise<T> {
  const answer = await ask<T>(host, words, input);
  if (answer.kind === "answer" && answer.status === EXIT.ok) return answer.value;
  throw new Failure({
    code: "TLS-RENEW",
    what: `'${words.join(" ")}' failed on ${host.name}`,
    received: answer.kind === "answer" ? `exit status ${answer.status}` : answer.error,
    why: "hosts whose turn was before have new certificates already, the others keep theirs; both kinds serve",
    fix: "put right what it says, and run this again",
  });
}
