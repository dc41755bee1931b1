/** The JSON Schema of a stack's file, for editors: `# yaml-language-server: $schema=components/topology/twofold.schema.json`. */
import { z } from "zod";
import { NAMESPACE } from "./parse.ts";
import { topologySchema } from "./schema.ts";

/** Made from the zod schema, so that the two cannot differ; keys of other programs are let through. */
export function stackFileSchema(): Record<string, unknown> {
  const { properties, required, $schema } = z.toJSONSchema(topologySchema, { io: "input" });
  const prefixed = Object.entries(properties ?? {}).map(([key, value]) => [NAMESPACE + key, value]);
  return {
    $schema,
    title: "Pulumi.STACK.yaml of a twofold node",
    type: "object",
    properties: {
      config: {
        type: "object",
        properties: {
          ...Object.fromEntries(prefixed),
          [`${NAMESPACE}lab`]: { description: "Written by `npm run lab`; real nodes have none." },
        },
        required: (required ?? []).map((key) => NAMESPACE + key),
        // Keys of this project are known; other providers have their own.
        patternProperties: { [`^(?!${NAMESPACE})`]: {} },
        additionalProperties: false,
      },
    },
    required: ["config"],
  };
}
