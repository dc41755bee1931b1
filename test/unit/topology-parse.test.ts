import test from "ava";
import fc from "fast-check";
import { parseTopology } from "../../components/topology/parse.ts";
import { formatProblems, type Problem, show } from "../../components/topology/problem.ts";
import { type Config, keyed, postgresConfig, sshfsConfig, valid } from "../helpers/topologies.ts";

function problems(change: (config: Config) => void, config = sshfsConfig()): Problem[] {
  change(config);
  const parsed = parseTopology(keyed(config), "test");
  return parsed.ok ? [] : parsed.problems;
}

/** The only problem that this change makes. */
function problem(change: (config: Config) => void, config = sshfsConfig()): Problem | undefined {
  const found = problems(change, config);
  return found.length === 1 ? found[0] : undefined;
}

const SLIPS: {
  title: string;
  code: string;
  path: string;
  change: (config: Config) => void;
  fix: RegExp;
  received?: string;
}[] = [
  {
    title: "a key that is nearly known",
    code: "CONFIG_UNKNOWN_KEY",
    path: "twofold:node.volume.profil",
    change: (c) => {
      c.node.volume.profil = "raid1";
    },
    fix: /write 'profile' if that was meant.*known here: kind, profile/,
    received: '"raid1"',
  },
  {
    title: "a key that is like none",
    code: "CONFIG_UNKNOWN_KEY",
    path: "twofold:node.quux",
    change: (c) => {
      c.node.quux = 1;
    },
    fix: /^remove it; known here: name, /,
  },
  {
    title: "an unknown key of one form of lightningd",
    code: "CONFIG_UNKNOWN_KEY",
    path: "twofold:node.lightningd.sha25",
    change: (c) => {
      c.node.lightningd.sha25 = "x";
    },
    fix: /write 'sha256'/,
  },
  {
    title: "an unknown key of a list's entry",
    code: "CONFIG_UNKNOWN_KEY",
    path: "twofold:node.copies[0].confirmd",
    change: (c) => {
      c.node.copies[0].confirmd = 1;
    },
    fix: /write 'confirmed'/,
  },
  {
    title: "a host without its key",
    code: "CONFIG_MISSING",
    path: "twofold:hosts.alice.hostKey",
    change: (c) => {
      delete c.hosts.alice.hostKey;
    },
    fix: /add it: a text/,
    received: "nothing",
  },
  {
    title: "a node without a wallet",
    code: "CONFIG_MISSING",
    path: "twofold:node.wallet",
    change: (c) => {
      delete c.node.wallet;
    },
    fix: /add it/,
  },
  {
    title: "a text where a list is wanted",
    code: "CONFIG_TYPE",
    path: "twofold:node.volume.devices",
    change: (c) => {
      c.node.volume.devices = "/dev/disk/by-id/a";
    },
    fix: /write a list/,
  },
  {
    title: "a number among devices",
    code: "CONFIG_TYPE",
    path: "twofold:node.volume.devices[1]",
    change: (c) => {
      c.node.volume.devices[1] = 3;
    },
    fix: /write a text/,
    received: "3",
  },
  {
    title: "two replicas",
    code: "CONFIG_TYPE",
    path: "twofold:node.wallet.replica",
    change: (c) => {
      c.node.wallet.replica = [c.node.wallet.replica, c.node.wallet.replica];
    },
    fix: /write a mapping/,
  },
  {
    title: "a profile that does not exist",
    code: "CONFIG_VALUE",
    path: "twofold:node.volume.profile",
    change: (c) => {
      c.node.volume.profile = "raid1c5";
    },
    fix: /one of raid1, raid1c3, raid1c4, raid10, single; perhaps raid1/,
  },
  {
    title: "a kind of wallet that does not exist",
    code: "CONFIG_VALUE",
    path: "twofold:node.wallet.kind",
    change: (c) => {
      c.node.wallet.kind = "sqlite3";
    },
    fix: /one of sqlite, postgres; perhaps sqlite/,
    received: '"sqlite3"',
  },
  {
    title: "a lightningd from nowhere",
    code: "CONFIG_VALUE",
    path: "twofold:node.lightningd",
    change: (c) => {
      c.node.lightningd = {};
    },
    fix: /one of preinstalled, archive, release/,
  },
  {
    title: "a release without its key",
    code: "CONFIG_MISSING",
    path: "twofold:node.lightningd.keyFile",
    change: (c) => {
      c.node.lightningd = { release: "v26.06.6", fingerprint: "A".repeat(40) };
    },
    fix: /add it/,
  },
  {
    title: "a relative mount point",
    code: "CONFIG_VALUE",
    path: "twofold:node.volume.mount",
    change: (c) => {
      c.node.volume.mount = "srv/lightning";
    },
    fix: /an absolute path/,
  },
  {
    title: "an address that would be an option of ssh",
    code: "CONFIG_VALUE",
    path: "twofold:hosts.vault.address",
    change: (c) => {
      c.hosts.vault.address = "-oProxyCommand=true";
    },
    fix: /a host name or an IP address/,
  },
  {
    title: "an option with a line break",
    code: "CONFIG_VALUE",
    path: "twofold:node.options.alias",
    change: (c) => {
      c.node.options.alias = "x\nwallet=sqlite3:///y";
    },
    fix: /one line/,
  },
  {
    title: "an option with its dashes",
    code: "CONFIG_VALUE",
    path: "twofold:node.options.--alias",
    change: (c) => {
      c.node.options = { "--alias": "x" };
    },
    fix: /without the leading dashes/,
  },
  {
    title: "a host whose name is no name",
    code: "CONFIG_VALUE",
    path: "twofold:hosts.Vault2",
    change: (c) => {
      c.hosts.Vault2 = c.hosts.eve;
      delete c.hosts.eve;
    },
    fix: /a name of small letters/,
    received: '"Vault2"',
  },
  {
    title: "a node's name that is too long for an account's",
    code: "CONFIG_VALUE",
    path: "twofold:node.name",
    change: (c) => {
      c.node.name = "a".repeat(16);
    },
    fix: /15 characters at most/,
  },
  {
    title: "a schedule of four fields",
    code: "CONFIG_VALUE",
    path: "twofold:maintenance.scrub",
    change: (c) => {
      c.maintenance.scrub = "0 0 * *";
    },
    fix: /five cron fields/,
  },
  {
    title: "an hour that there is not",
    code: "CONFIG_VALUE",
    path: "twofold:maintenance.scrub",
    change: (c) => {
      c.maintenance.scrub = "0 25 * * *";
    },
    fix: /from 0 to 23/,
    received: '"0 25 * * *"',
  },
  {
    title: "a day of the week in full, for which cron would drop all entries",
    code: "CONFIG_VALUE",
    path: "twofold:maintenance.deviceStats",
    change: (c) => {
      c.maintenance.deviceStats = "0 0 * * sunday";
    },
    fix: /a name such as sun/,
  },
  {
    title: "a host key that was cut off",
    code: "CONFIG_VALUE",
    path: "twofold:hosts.vault.hostKey",
    change: (c) => {
      c.hosts.vault.hostKey = c.hosts.vault.hostKey.slice(0, -8);
    },
    fix: /the whole line of ssh-keyscan/,
  },
  {
    title: "an option's name with two dashes, which lightningd.conf can't have",
    code: "CONFIG_VALUE",
    path: "twofold:node.options.a--b",
    change: (c) => {
      c.node.options = { "a--b": "x" };
    },
    fix: /single '-'/,
  },
  {
    title: "white space at the end of an option, which lightningd would cut off",
    code: "CONFIG_VALUE",
    path: "twofold:node.options.plugin[1]",
    change: (c) => {
      c.node.options.plugin = ["/usr/bin/a", "/usr/bin/b "];
    },
    fix: /without white space at its ends/,
  },
  {
    title: "a day without quotes as an option",
    code: "CONFIG_VALUE",
    path: "twofold:node.options.alias",
    change: (c) => {
      c.node.options.alias = "2026-11-20 00:00:00 +0000 UTC";
    },
    fix: /in quotes/,
  },
  {
    title: "a device that is too small to be right",
    code: "CONFIG_VALUE",
    path: "twofold:node.volume.minimumDeviceBytes",
    change: (c) => {
      c.node.volume.minimumDeviceBytes = 1000;
    },
    fix: /at least 134217728/,
  },
  {
    title: "a port that is none",
    code: "CONFIG_VALUE",
    path: "twofold:hosts.vault.port",
    change: (c) => {
      c.hosts.vault.port = 70000;
    },
    fix: /at most 65535/,
  },
  {
    title: "a confirmation without a day",
    code: "CONFIG_VALUE",
    path: "twofold:node.copies[0].confirmed",
    change: (c) => {
      c.node.copies[0].confirmed = "yes";
    },
    fix: /a day such as 2026-11-20, or not-yet/,
  },
  {
    title: "a day that is not in the calendar",
    code: "CONFIG_VALUE",
    path: "twofold:node.copies[0].confirmed",
    change: (c) => {
      c.node.copies[0].confirmed = "2026-02-30";
    },
    fix: /a day such as/,
  },
  {
    title: "an encrypted value",
    code: "CONFIG_SECRET",
    path: "twofold:hosts.vault.address",
    change: (c) => {
      c.hosts.vault.address = { secure: "v1:abc:def" };
    },
    fix: /in plain text/,
    received: "{ secure: … }",
  },
];

for (const { title, code, path, change, fix, received } of SLIPS) {
  test(`refuses ${title}`, (t) => {
    const found = problem(change);
    t.is(found?.code, code);
    t.is(found?.path, path);
    t.regex(found?.fix ?? "", fix);
    t.true((found?.why.length ?? 0) > 8);
    if (received !== undefined) t.is(found?.received, received);
  });
}

test("refuses a SQLite part of a PostgreSQL wallet, and says what takes its place", (t) => {
  const found = problems((c) => {
    c.node.wallet.replica = { path: "/srv/x", via: "local" };
  }, postgresConfig());
  t.deepEqual(
    found.map(({ code, path }) => [code, path]),
    [["CONFIG_UNKNOWN_KEY", "twofold:node.wallet.replica"]],
  );
  t.regex(found[0]?.why ?? "", /standbys instead/);
});

test("refuses a top-level key that is nearly known, and lets other programs' keys through", (t) => {
  const config = { ...keyed(sshfsConfig()), "twofold:maintainance": {}, "docker:host": "unix:///x" };
  const parsed = parseTopology(config, "test");
  t.false(parsed.ok);
  if (!parsed.ok) {
    t.deepEqual(
      parsed.problems.map(({ path }) => path),
      ["twofold:maintainance"],
    );
    t.regex(parsed.problems[0]?.fix ?? "", /write 'maintenance'/);
  }
  t.true(parseTopology({ ...keyed(sshfsConfig()), "docker:host": "x", "twofold:lab": { anything: 1 } }, "test").ok);
});

test("tells all slips at once", (t) => {
  const found = problems((c) => {
    for (const { change } of SLIPS.filter(({ path }) =>
      /volume\.(profile|mount)$|hosts\.vault\.address$|scrub/.test(path),
    ).slice(0, 4))
      change(c);
    c.node.nmae = "x";
  });
  t.is(found.length, 5);
  t.is(new Set(found.map(({ path }) => path)).size, 5);
  const text = formatProblems(found);
  t.is(text.match(/^ {2}received: /gm)?.length, 5);
  t.is(text.match(/^ {2}why: /gm)?.length, 5);
  t.is(text.match(/^ {2}to do: /gm)?.length, 5);
});

test("an empty config is told what it lacks", (t) => {
  const parsed = parseTopology({}, "test");
  t.false(parsed.ok);
  if (!parsed.ok)
    t.deepEqual(
      parsed.problems.map(({ path }) => path),
      ["twofold:hosts", "twofold:node"],
    );
});

test("a config as Pulumi hands it to programs, objects as JSON and booleans as text, is the same topology", (t) => {
  const config = keyed(sshfsConfig());
  const asText = Object.fromEntries(
    Object.entries(config).map(([key, value]) => [key, typeof value === "string" ? value : JSON.stringify(value)]),
  );
  const [plain, text] = [parseTopology(config, "test"), parseTopology(asText, "test")];
  t.true(plain.ok);
  t.deepEqual(text, plain);
});

test("a day that Pulumi has turned into a point in time is that day", (t) => {
  const config = sshfsConfig();
  config.node.copies[0].confirmed = "2026-11-20 00:00:00 +0000 UTC";
  t.deepEqual(valid(config).node.copies, [{ kind: "hsm-secret", confirmed: "2026-11-20" }]);
});

test("defaults are filled in", (t) => {
  const { hosts, maintenance, alerts, allowStandins } = valid(sshfsConfig());
  t.is(hosts.alice?.port, 22);
  t.is(hosts.alice?.user, "root");
  t.deepEqual(maintenance, { balance: "0 0 * * *", scrub: "0 0 * * 0", deviceStats: "17 * * * *" });
  t.deepEqual(alerts, { repeat: "1h", replicationLagBytes: 16 * 2 ** 20, freePercent: 10 });
  t.false(allowStandins);
});

test("no text is taken as a path that leaves its directory or ends up in another field", (t) => {
  const piece = fc.constantFrom(
    "a",
    "srv",
    "..",
    ".",
    "",
    "x y",
    "a%b",
    "a'b",
    "a\tb",
    "$(x)",
    "a\\b",
    "é",
    "lightning-1.2",
  );
  fc.assert(
    fc.property(fc.array(piece, { minLength: 1, maxLength: 5 }), (pieces) => {
      const path = `/${pieces.join("/")}`;
      const plain = pieces.every((part) => /^[A-Za-z0-9._-]+$/.test(part) && !/^\.{1,2}$/.test(part));
      const refused = problems((c) => {
        c.node.takeOver = path;
      }).some(({ code }) => code === "CONFIG_VALUE");
      // "/a" alone is two characters; a lone "/" never is a path here.
      t.is(refused, !plain, path);
    }),
  );
});

test("a value in a message is cut where it would fill the screen", (t) => {
  t.is(show("x".repeat(1000)).length, 160 + "… (1002 characters)".length);
  t.is(show(undefined), "nothing");
});
