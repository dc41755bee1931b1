/** `./twofold certificates renew`: the cluster's certificates made anew; keys stay where they are. */
import { certificatesOf, type HostCertificates } from "../../components/topology/certificates.ts";
import { EXIT } from "../host/contract.ts";
import { Refusal } from "../host/stage.ts";
import type { Requests, Signed } from "../host/tls/store.ts";
import { ask } from "./ask.ts";
import { Failure } from "./failure.ts";
import { loadStack } from "./load.ts";
import type { StackChoice } from "./locate.ts";
import type { Host } from "./ssh.ts";

export async function renewCertificates(options: StackChoice & { json?: true; newAuthority?: true }): Promise<number> {
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
  const signed = async (one: HostCertificates) => signFor(stack.host(one.host), stack.host(one.authority), one);
  const install = async (one: HostCertificates, certificates: Signed, word: string) => {
    const input = { identities: one.identities, ...certificates };
    const { written } = await must<{ written: string[] }>(stack.host(one.host), ["tls-install", word], input);
    process.stderr.write(`${one.host}: new certificates for ${written.join(", ")}\n`);
    renewed.push({ host: one.host, written });
  };
  if (options.newAuthority) {
    // A host of the one authority refuses those of the other: so all that can be done before is, and then all change at once.
    const all: { one: HostCertificates; certificates: Signed }[] = [];
    for (const one of wanted) all.push({ one, certificates: await signed(one) });
    await Promise.all(all.map(({ one, certificates }) => install(one, certificates, "--new-authority")));
  } else {
    // One host at a time: what is wrong with the first is not done to the others.
    for (const one of wanted) await install(one, await signed(one), "--renew");
  }
  if (options.json) process.stdout.write(`${JSON.stringify({ stack: stack.name, hosts: renewed })}\n`);
  return EXIT.ok;
}

async function signFor(host: Host, authority: Host, { cluster, identities }: HostCertificates): Promise<Signed> {
  const { requests } = await must<Requests>(host, ["tls-request"], { host: host.name, identities });
  return must<Signed>(authority, ["tls-sign"], { cluster, identities, requests });
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
