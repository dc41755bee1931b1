/** command:remote:CopyToRemote: copies one local file to a host over SFTP, when its content or its place changes. */
import { randomBytes } from "node:crypto";
import { posix } from "node:path";
import { promisify } from "node:util";
import type { SFTPWrapper, Stats } from "ssh2";
import { checkInputs, type ObjectShape } from "../inputs.ts";
import type { Progress, ResourceKind } from "../serve.ts";
import { type FileAsset, plain } from "../wire.ts";
import { diffWithTriggers } from "./command.ts";
import { type Connection, connectionShape, dial, withConnectionDefaults } from "./connection.ts";

const shape: ObjectShape = {
  object: {
    connection: connectionShape,
    source: "file asset",
    remotePath: "string",
    triggers: { list: "anything" },
  },
  required: ["connection", "source", "remotePath"],
};

interface Inputs {
  connection: Connection;
  source: FileAsset;
  remotePath: string;
}

export const copyToRemote: ResourceKind = {
  check: (inputs) => ({
    inputs: withConnectionDefaults(inputs),
    failures: checkInputs(inputs, shape, "command:remote:CopyToRemote"),
  }),

  diff: (state, inputs) => diffWithTriggers(state, inputs),

  async create(_name, inputs, progress) {
    await copy(plain(inputs) as Inputs, progress);
    return { id: randomBytes(4).toString("hex"), outs: inputs };
  },

  /** Only another hash or path is copied: with a new `connection` alone the file is believed to be there. */
  async update(_id, state, inputs, progress) {
    const before = plain(state) as Inputs;
    const after = plain(inputs) as Inputs;
    if (after.source.hash !== before.source.hash || after.remotePath !== before.remotePath) await copy(after, progress);
    return { outs: inputs };
  },

  /** The file stays. */
  async delete() {},
};

async function copy({ connection, source, remotePath }: Inputs, progress: Progress): Promise<void> {
  const client = await dial(connection, progress);
  try {
    const sftp = await promisify(client.sftp.bind(client))();
    const there = await statOrNothing(sftp, remotePath);
    if (there === undefined) await makeDirectories(sftp, posix.dirname(remotePath));
    const target = there?.isDirectory() ? posix.join(remotePath, posix.basename(source.path)) : remotePath;
    await promisify(sftp.fastPut.bind(sftp) as PutFile)(source.path, target).catch((error: Error) => {
      throw new Error(`failed to copy file ${source.path} to remote path ${target}: ${error.message}`);
    });
  } finally {
    client.end();
  }
}

type PutFile = (local: string, remote: string, callback: (error?: Error | null) => void) => void;

const NO_SUCH_FILE = 2; // SSH_FX_NO_SUCH_FILE, draft-ietf-secsh-filexfer-02, section 7

async function statOrNothing(sftp: SFTPWrapper, path: string): Promise<Stats | undefined> {
  try {
    return await promisify(sftp.stat.bind(sftp))(path);
  } catch (error) {
    if ((error as { code?: number }).code === NO_SUCH_FILE) return undefined;
    throw new Error(`failed to stat remote path ${path}: ${(error as Error).message}`);
  }
}

async function makeDirectories(sftp: SFTPWrapper, path: string): Promise<void> {
  const there = await statOrNothing(sftp, path);
  if (there?.isDirectory()) return;
  if (there !== undefined) throw new Error(`remote path ${path} exists but is not a directory`);
  await makeDirectories(sftp, posix.dirname(path));
  await promisify(sftp.mkdir.bind(sftp) as (path: string, callback: (error?: Error | null) => void) => void)(path);
}
