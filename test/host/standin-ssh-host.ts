/**
 * An SSH host inside the test's own process: commands run with /bin/sh on this machine, SFTP is kept to one directory.
 * It needs no sshd on the machine, and it can count, refuse and disappear at will.
 */
import { execFileSync, spawn } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import ssh2, { type Connection, type Server, type ServerChannel, type Session, type SFTPWrapper } from "ssh2";

export interface Ran {
  command: string;
  env: Record<string, string>;
}

const { STATUS_CODE, OPEN_MODE, flagsToString } = ssh2.utils.sftp;

/** Made by OpenSSH: of those that ssh2 1.17.0 makes itself, it can't read about one in 170 ("Malformed OpenSSH private key"). */
function makeKeys(): { private: string; public: string } {
  const directory = mkdtempSync(join(tmpdir(), "twofold-keys-"));
  try {
    const file = join(directory, "key");
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", file]);
    return { private: readFileSync(file, "utf8"), public: readFileSync(`${file}.pub`, "utf8").trim() };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

export class SshHost {
  /** Where commands run, and the root of SFTP. */
  readonly directory = mkdtempSync(join(tmpdir(), "twofold-ssh-"));
  readonly hostKey = makeKeys();
  readonly clientKey = makeKeys();
  /** Every command that was run, in order. */
  readonly ran: Ran[] = [];
  /** Connections that came in, refused ones included, also those of a client that turned away from the host key. */
  connections = 0;
  /** Files that were opened for writing over SFTP, in order. */
  readonly written: string[] = [];
  /** So many of the next connections are closed at once. */
  refuse = 0;
  readonly #clients = new Set<Connection>();
  #server: Server | undefined;
  #port = 0;

  get port(): number {
    return this.#port;
  }

  /** The `connection` input for this host. */
  get connection(): Record<string, unknown> {
    return {
      host: "127.0.0.1",
      port: this.#port,
      privateKey: { $secret: this.clientKey.private },
      hostKey: this.hostKey.public,
      dialErrorLimit: 1,
      perDialTimeout: 10,
    };
  }

  /** Starts listening on 127.0.0.1: on its old port if it had one, else on a free one. */
  async start(): Promise<void> {
    const server = new ssh2.Server({ hostKeys: [this.hostKey.private] }, (client) => this.#accept(client));
    await new Promise<void>((resolve) => server.listen(this.#port, "127.0.0.1", resolve));
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const client of this.#clients) client.end();
    await closed;
  }

  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }

  #accept(client: Connection): void {
    this.connections += 1;
    this.#clients.add(client);
    client.on("close", () => this.#clients.delete(client));
    client.on("error", () => {}); // a client that turns away
    if (this.refuse > 0) {
      this.refuse -= 1;
      client.end();
      return;
    }
    const allowed = parsed(this.clientKey.public);
    client.on("authentication", (attempt) => {
      if (attempt.method !== "publickey" || !attempt.key.data.equals(allowed.getPublicSSH())) {
        return attempt.reject(["publickey"]);
      }
      const { signature, blob } = attempt;
      if (signature === undefined || blob === undefined) return attempt.accept();
      return allowed.verify(blob, signature, attempt.hashAlgo) === true ? attempt.accept() : attempt.reject();
    });
    client.on("session", (accept) => this.#serve(accept()));
  }

  #serve(session: Session): void {
    const env: Record<string, string> = {};
    session.on("env", (accept, _reject, { key, val }) => {
      env[key] = val;
      accept?.();
    });
    session.on("exec", (accept, _reject, { command }) => {
      this.ran.push({ command, env });
      this.#run(accept(), command, env);
    });
    session.on("sftp", (accept) => {
      const sftp = accept();
      this.#files(sftp);
      // As sftp-server(8) does; the real plugin waits for it.
      session.on("eof", () => sftp.end());
    });
  }

  #run(channel: ServerChannel, command: string, env: Record<string, string>): void {
    const child = spawn("/bin/sh", ["-c", command], { cwd: this.directory, env: { PATH: process.env.PATH, ...env } });
    // Else the channel is closed as soon as the client has sent its input, before there is an exit status.
    channel.allowHalfOpen = true;
    channel.pipe(child.stdin);
    child.stdin.on("error", () => {}); // a command that does not read its input
    child.stdout.on("data", (chunk) => channel.write(chunk));
    child.stderr.on("data", (chunk) => channel.stderr.write(chunk));
    child.once("close", (status, signal) => {
      if (signal === null) channel.exit(status ?? 0);
      else channel.exit(signal.replace(/^SIG/, ""), false, "");
      channel.end();
    });
  }

  #files(sftp: SFTPWrapper): void {
    const place = (path: string): string => join(this.directory, path);
    const answer = (request: number, action: () => void): void => {
      try {
        action();
      } catch (error) {
        const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
        sftp.status(request, missing ? STATUS_CODE.NO_SUCH_FILE : STATUS_CODE.FAILURE, (error as Error).message);
      }
    };
    const attributes = (request: number, path: string): void =>
      answer(request, () => {
        const { mode, uid, gid, size, atimeMs, mtimeMs } = statSync(place(path));
        sftp.attrs(request, { mode, uid, gid, size, atime: atimeMs / 1000, mtime: mtimeMs / 1000 });
      });
    const ok = (request: number): void => sftp.status(request, STATUS_CODE.OK);
    sftp.on("STAT", attributes);
    sftp.on("LSTAT", attributes);
    sftp.on("MKDIR", (request, path) =>
      answer(request, () => {
        mkdirSync(place(path));
        ok(request);
      }),
    );
    sftp.on("OPEN", (request, path, flags) =>
      answer(request, () => {
        if ((flags & OPEN_MODE.WRITE) !== 0) this.written.push(path);
        const file = openSync(place(path), flagsToString(flags) ?? "r");
        const handle = Buffer.alloc(4);
        handle.writeUInt32BE(file);
        sftp.handle(request, handle);
      }),
    );
    sftp.on("WRITE", (request, handle, offset, data) =>
      answer(request, () => {
        writeSync(handle.readUInt32BE(0), data, 0, data.length, offset);
        ok(request);
      }),
    );
    sftp.on("FSETSTAT", ok);
    sftp.on("CLOSE", (request, handle) =>
      answer(request, () => {
        closeSync(handle.readUInt32BE(0));
        ok(request);
      }),
    );
  }
}

function parsed(key: string): ssh2.ParsedKey {
  const result = ssh2.utils.parseKey(key);
  if (result instanceof Error || Array.isArray(result)) throw new Error(`not one key: ${key}`);
  return result;
}
