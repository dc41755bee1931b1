/** The hosts that keep the node's high-water mark. */
import type { LightningdDocument } from "../../contract.ts";
import { askPeer, PeerRefused, PeerUnreachable } from "../../witness/peer.ts";
import type { Condition } from "../alert.ts";

export const witnessSilent = (host: string, why: string): Condition => ({
  code: "WITNESS_UNREACHABLE",
  subject: `the witness on ${host}`,
  value: why,
});

/** Reads each mark as the gate would. */
export async function lookAtWitnesses({ witnesses }: LightningdDocument): Promise<Condition[]> {
  const peers = witnesses.filter((place) => place.kind === "peer");
  const answers = await Promise.all(
    peers.map(async ({ host, access }) => {
      try {
        await askPeer(access, "read", null);
        return [];
      } catch (error) {
        if (error instanceof PeerUnreachable || error instanceof PeerRefused)
          return [witnessSilent(host, error.message)];
        throw error;
      }
    }),
  );
  return answers.flat();
}
