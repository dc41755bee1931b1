import test from "ava";
import { endSessions, parseTitle, realUid, sessionsOf } from "../../scripts/host/sessions.ts";

test("a process's account is its real user, and an SFTP session is told by sshd's title", (t) => {
  t.is(realUid("Name:\tsshd\nUid:\t998\t0\t0\t0\nGid:\t1\t1\t1\t1\n"), 998);
  t.true(Number.isNaN(realUid("")));
  const sftp = { account: "twofold-replica-alice", sftp: true };
  t.deepEqual(parseTitle("sshd-session: twofold-replica-alice@internal-sftp"), sftp);
  t.deepEqual(parseTitle("sshd: twofold-replica-alice@internal-sftp\0\0"), sftp);
  t.deepEqual(parseTitle("sshd-session: twofold-replica-alice@notty"), { ...sftp, sftp: false });
  for (const other of ["node\0witness-serve", "grep internal-sftp", "sshd-session: alice [priv]"])
    t.deepEqual(parseTitle(other), { account: undefined, sftp: false });
});

test("this very process is found under its own account", async (t) => {
  t.true((await sessionsOf(process.getuid?.() ?? -1)).some(({ pid }) => pid === process.pid));
});

test("refuses to end the processes of root, or of an account that is none", async (t) => {
  for (const uid of [0, Number.NaN, -1])
    await t.throwsAsync(
      endSessions(uid, () => true),
      { message: /that is no account of twofold's/ },
    );
});
