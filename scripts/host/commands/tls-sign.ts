import { type Command, expectArguments, printJson, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import { readInput, signInput } from "../tls/input.ts";
import { signCertificates } from "../tls/store.ts";

export const tlsSign: Command = {
  usage: "tls-sign < REQUESTS",
  summary: "sign a host's requests as the cluster's authority, made at the first time; prints certificates as JSON",
  async run(args) {
    expectArguments(tlsSign, args, 0);
    requireRoot();
    const { cluster, identities, requests } = await readInput(signInput);
    printJson(await signCertificates(cluster, identities, requests));
    return EXIT.ok;
  },
};
