/** docker:index/network:Network: a bridge network. */
import { setTimeout as delay } from "node:timers/promises";
import { checkInputs, type ObjectShape } from "../inputs.ts";
import type { ResourceKind } from "../serve.ts";
import { type Properties, plain } from "../wire.ts";
import { diffOf, engine, isAbsent, type Label, labelMap } from "./engine.ts";
import { labelsShape } from "./shapes.ts";

const shape: ObjectShape = {
  object: { name: "string", labels: labelsShape },
  required: ["name"],
};

interface Inputs {
  name: string;
  labels?: Label[];
}

/** How long containers may take to leave a network that is to be removed, as in the real plugin. */
const REMOVE_DEADLINE_MS = 30_000;
const REMOVE_PAUSE_MS = 200;

export const network: ResourceKind = {
  check: (inputs) => ({ inputs, failures: checkInputs(inputs, shape, "docker:index/network:Network") }),

  diff: (state, inputs) => diffOf(state, inputs, { known: Object.keys(shape.object), sets: ["labels"], updated: [] }),

  async create(_name, inputs) {
    const { name, labels } = plain(inputs) as Inputs;
    const made = await engine
      .createNetwork({ Name: name, Labels: labelMap(labels), CheckDuplicate: true })
      .catch((error) => {
        throw new Error(`Unable to create network ${name}: ${error.message}`);
      });
    return { id: made.id, outs: { ...inputs, ...(await seen(made.id)) } };
  },

  async read(id, state) {
    try {
      return { id, props: { ...state, ...(await seen(id)) } };
    } catch (error) {
      if (isAbsent(error)) return { id: "", props: {} };
      throw error;
    }
  },

  async update() {
    throw new Error("a network has nothing that can be updated in place");
  },

  async delete(id) {
    const deadline = Date.now() + REMOVE_DEADLINE_MS;
    for (;;) {
      try {
        return await engine.getNetwork(id).remove();
      } catch (error) {
        if (isAbsent(error)) return;
        const message = (error as Error).message;
        if (!message.includes("has active endpoints") || Date.now() > deadline) {
          throw new Error(`Unable to remove network ${id}: ${message}`);
        }
        await delay(REMOVE_PAUSE_MS);
      }
    }
  },
};

async function seen(id: string): Promise<Properties> {
  const { Driver, Scope, Internal, Options, IPAM } = await engine.getNetwork(id).inspect();
  return {
    driver: Driver,
    scope: Scope,
    internal: Internal,
    options: Options ?? {},
    ipamConfigs: (IPAM?.Config ?? []).map(({ Subnet, Gateway }) => ({
      ...(Subnet === undefined ? {} : { subnet: Subnet }),
      ...(Gateway === undefined ? {} : { gateway: Gateway }),
    })),
  };
}
