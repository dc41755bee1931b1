/** The stack's config as Pulumi hands it over, checked for what only Pulumi knows. */
import * as pulumi from "@pulumi/pulumi";
import { NAMESPACE, type Parsed, parseTopology } from "../components/topology/parse.ts";

/**
 * The topology of the current stack. A secret value is refused: a topology is part of every preview and of every
 * document, and Pulumi would hide all of it.
 *
 * @param secretKeys JSON list of the keys that are encrypted, as Pulumi hands it to its programs.
 */
export function topologyFromConfig(
  config: Record<string, string> = pulumi.runtime.allConfig(),
  stack: string = pulumi.getStack(),
  secretKeys: string = process.env.PULUMI_CONFIG_SECRET_KEYS || "[]",
): Parsed {
  const secret = (JSON.parse(secretKeys) as string[]).filter((key) => key.startsWith(NAMESPACE));
  if (secret.length > 0) {
    return {
      ok: false,
      problems: secret.sort().map((key) => ({
        code: "CONFIG_SECRET",
        path: key,
        what: "the topology can't hold a secret",
        received: "an encrypted value",
        why: "the topology is plain: it is shown in previews, and the verbs read it without Pulumi and its passphrase",
        fix: `pulumi config rm ${key}, and write the value without --secret; a secret belongs in a file on its host`,
      })),
    };
  }
  return parseTopology(config, stack);
}
