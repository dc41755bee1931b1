/** What the certificate commands take on stdin. */
import * as z from "zod/mini";
import { readStdin } from "../command.ts";
import { identitySchema } from "../schema.ts";
import { Refusal } from "../stage.ts";

const pemByRole = z.record(z.string(), z.string());

export const requestInput = z.strictObject({ host: z.string(), identities: z.array(identitySchema) });
export const signInput = z.strictObject({
  cluster: z.string(),
  identities: z.array(identitySchema),
  requests: pemByRole,
});
export const installInput = z.strictObject({
  identities: z.array(identitySchema),
  ca: z.string(),
  certificates: pemByRole,
});

/** @throws {Refusal} for what does not fit the schema */
export async function readInput<T>(schema: z.ZodMiniType<T>): Promise<T> {
  const text = await readStdin();
  const refuse = (received: string): never => {
    throw new Refusal({
      code: "TLS-INPUT",
      what: "stdin does not hold what this command takes",
      received,
      why: "a certificate for a wrong name lets the wrong host in",
      fix: "pulumi up and ./twofold certificates renew send it",
    });
  };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return refuse(`${text.slice(0, 60) || "nothing"}: ${(error as Error).message}`);
  }
  const parsed = schema.safeParse(value);
  return parsed.success ? parsed.data : refuse(z.prettifyError(parsed.error));
}
