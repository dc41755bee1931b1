import { type Command, expectArguments, printJson, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import { readInput, requestInput } from "../tls/input.ts";
import { requestCertificates } from "../tls/store.ts";

export const tlsRequest: Command = {
  usage: "tls-request < IDENTITIES",
  summary: "make this host's keys for the cluster where it has none, and print requests for certificates as JSON",
  async run(args) {
    expectArguments(tlsRequest, args, 0);
    requireRoot();
    const { host, identities } = await readInput(requestInput);
    printJson(await requestCertificates(host, identities));
    return EXIT.ok;
  },
};
