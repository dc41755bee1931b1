import test from "ava";
import { endSessions, isSftp, realUid, sessionsOf } from "../../scripts/host/sessions.ts";

test("a process's account is its real user, and an SFTP session is told by sshd's title", (t) => {
  t.is(realUid("Name:\tsshd\nUid:\t998\t0\t0\t0\nGid:\t1\t1\t1\t1\n"), 998);
  t.true(Number.isNaN(realUid("")));
  t.true(isSftp("sshd-session: twofold-replica-alice@internal-sftp"));
  t.true(isSftp("sshd: twofold-replica-alice@internal-sftp\0\0"));
  t.false(isSftp("sshd: twofold-alice@notty"));
  t.false(isSftp("grep internal-sftp"));
});

test("this very process is found under its own account", async (t) => {
  t.true((await sessionsOf(process.getuid?.() ?? -1)).some(({ pid }) => pid === process.pid));
});

test("refuses to end the processes of root, or of an account that is none", async (t) => {
  for (const uid of [0, Number.NaN, -1])
    await t.throwsAsync(endSessions(uid), { message: /that is no account of twofold's/ });
});
