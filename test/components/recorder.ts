/** Pulumi mocks that keep what was registered: type, name, inputs, parent, dependencies, options. */
import * as pulumi from "@pulumi/pulumi";

export interface Registered {
  type: string;
  name: string;
  urn: string;
  inputs: Record<string, unknown>;
  parent: string;
  dependencies: string[];
  deletedWith: string;
}

/** The request as the engine gets it (pulumi/resource.proto, RegisterResourceRequest). */
interface Request {
  getType(): string;
  getName(): string;
  getParent(): string;
  getDependenciesList(): string[];
  getDeletedwith(): string;
  getObject(): { toJavaScript(): Record<string, unknown> };
}
interface Monitor {
  registerResource(request: Request, callback: (error: unknown, response?: { getUrn(): string }) => void): unknown;
}

/** Key and value by which a secret is known on the wire (sdk/nodejs/runtime/rpc.ts, specialSigKey and specialSecretSig). */
const SIGNATURE = "4dabf18193072939515e22adb298388d";
const SECRET = "1b47061264138c4ac30d75fd1eb44270";

/** Runs `program` as a stack of its own and returns what it registered, in the order of registration. */
export async function record(program: () => unknown, options: { preview?: boolean } = {}): Promise<Registered[]> {
  const registered: Registered[] = [];
  await pulumi.runtime.setMocks(
    {
      call: () => ({}),
      // A preview knows no ids of what is yet to be made.
      newResource: ({ name, inputs }) =>
        options.preview
          ? { id: undefined, state: inputs }
          : { id: `${name}-id`, state: { ...inputs, stdout: `the output of ${name}` } },
    },
    "twofold",
    "test",
    options.preview ?? false,
  );
  const monitor = pulumi.runtime.getMonitor() as unknown as Monitor;
  const original = monitor.registerResource.bind(monitor);
  monitor.registerResource = (request, callback) =>
    original(request, (error, response) => {
      registered.push({
        type: request.getType(),
        name: request.getName(),
        urn: response?.getUrn() ?? "",
        inputs: request.getObject().toJavaScript(),
        parent: request.getParent(),
        dependencies: request.getDependenciesList(),
        deletedWith: request.getDeletedwith(),
      });
      callback(error, response);
    });
  program();
  await pulumi.runtime.disconnect();
  return registered;
}

/** The one resource of that name. */
export function only(registered: Registered[], name: string, type?: string): Registered {
  const found = registered.filter(
    (resource) => resource.name === name && (type === undefined || resource.type === type),
  );
  const [one] = found;
  if (one === undefined || found.length > 1) {
    throw new Error(`${found.length} resources are named ${name}: ${registered.map((each) => each.name).join(", ")}`);
  }
  return one;
}

export function isSecret(value: unknown): boolean {
  return typeof value === "object" && value !== null && (value as Record<string, unknown>)[SIGNATURE] === SECRET;
}

/** The value inside a secret, or the value itself. */
export function plain(value: unknown): unknown {
  return isSecret(value) ? (value as { value: unknown }).value : value;
}
