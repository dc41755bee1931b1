/** Asking this host's own PostgreSQL as its superuser, over its socket. */
import { must } from "../process.ts";

/** Of a statement that waits for a standby that is not there; the cluster is then told of, not waited for. */
const TIMEOUT_SECONDS = 120;

const WORDS = ["psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--dbname=postgres"];

/** Runs a script given on stdin. @throws {CommandFailed} */
export function psql(script: string, variables: Record<string, string> = {}): Promise<string> {
  const set = Object.entries(variables).map(([name, value]) => `--set=${name}=${value}`);
  const words = [`${TIMEOUT_SECONDS}`, ...WORDS, "--set=ON_ERROR_STOP=1", "--host=/var/run/postgresql", ...set];
  return must("runuser", ["--user", "postgres", "--", "timeout", ...words], { input: script });
}
