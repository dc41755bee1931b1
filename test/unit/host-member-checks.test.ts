import test from "ava";
import fc from "fast-check";
import { postgresDocument } from "../../components/topology/documents/postgres.ts";
import type { PostgresDocument } from "../../scripts/host/contract.ts";
import { parseListeners, requireClocks, requirePorts, secondsAhead } from "../../scripts/host/member-checks.ts";
import {
  type Beginning,
  NEEDED_BYTES,
  parseSystemIdentifier,
  requireBeginning,
} from "../../scripts/host/postgres/beginning.ts";
import { postgresConfig, valid } from "../helpers/topologies.ts";

function documentOf(): PostgresDocument {
  const document = postgresDocument(valid(postgresConfig()), "eve");
  if (document === undefined) throw new Error("eve is a member");
  return document;
}
const document = documentOf();

test("who listens at a port is read from ss, with and without the right to see whose process it is", (t) => {
  const text = [
    'LISTEN 0      200          0.0.0.0:5432      0.0.0.0:*    users:(("postgres",pid=4711,fd=6))',
    'LISTEN 0      200             [::]:5432         [::]:*    users:(("postgres",pid=4711,fd=7))',
    "LISTEN 0      4096               *:2379            *:*",
    "",
  ].join("\n");
  t.deepEqual(parseListeners(text), [
    { port: 5432, program: "postgres", pid: 4711 },
    { port: 5432, program: "postgres", pid: 4711 },
    { port: 2379, program: "another program", pid: 0 },
  ]);
});

test("refuses a port that another program has, and says which", (t) => {
  t.throws(() => requirePorts("patroni.service", [{ port: 8008, program: "haproxy", pid: 77 }]), {
    message: /MEMBER-PORT.*8008.*haproxy, process 77/s,
  });
  t.notThrows(() => requirePorts("patroni.service", []));
});

test("clocks half a minute apart are taken, and a minute apart refused, whichever of the two is ahead", (t) => {
  fc.assert(
    fc.property(fc.integer({ min: -30, max: 30 }), (ahead) => {
      t.notThrows(() => requireClocks("eve", [{ host: "alice", ahead }]));
    }),
  );
  fc.assert(
    fc.property(fc.integer({ min: 60, max: 1e6 }), fc.boolean(), (seconds, ahead) => {
      const error = t.throws(() => requireClocks("eve", [{ host: "alice", ahead: ahead ? seconds : -seconds }]));
      t.regex(
        error.message,
        new RegExp(`MEMBER-CLOCK.*alice is ${seconds} s ${ahead ? "ahead of" : "behind"} eve`, "s"),
      );
    }),
  );
});

test("a clock that differs from all others is the one that is named", (t) => {
  const both = [
    { host: "alice", ahead: 60 },
    { host: "vault", ahead: 61 },
  ];
  t.throws(() => requireClocks("eve", both), { message: /eve's clock is not that of the others/ });
  t.throws(() => requireClocks("eve", [{ host: "alice", ahead: 0 }, ...both.slice(1)]), {
    message: /timedatectl on vault/,
  });
});

test("a clock is read from the date of an answer", (t) => {
  const now = Date.parse("2026-11-23T08:00:00.400Z");
  t.is(secondsAhead("Mon, 23 Nov 2026 08:01:01 GMT", now), 61);
  t.is(secondsAhead("Mon, 23 Nov 2026 08:00:00 GMT", now), -0);
  t.is(secondsAhead(undefined, now), undefined);
});

const fine: Beginning = {
  taken: [],
  own: { version: 17, systemIdentifier: "7575" },
  cluster: [{ host: "alice", version: 17, systemIdentifier: "7575" }],
  members: undefined,
  freeBytes: 0,
};

test("a member that fits its cluster begins, and so does one that has nothing yet", (t) => {
  t.notThrows(() => requireBeginning(fine, document));
  t.notThrows(() => requireBeginning({ ...fine, own: undefined, freeBytes: NEEDED_BYTES }, document));
  t.notThrows(() =>
    requireBeginning(
      { ...fine, cluster: [{ host: "alice", version: undefined, systemIdentifier: undefined }] },
      document,
    ),
  );
  t.notThrows(() => requireBeginning(undefined, document));
});

const REFUSALS: [title: string, found: Beginning, message: RegExp][] = [
  ["data of another major version", { ...fine, own: { version: 15, systemIdentifier: "7575" } }, /PG-VERSION.*15.*17/s],
  [
    "a cluster of another major version",
    { ...fine, own: undefined, cluster: [{ host: "alice", version: 16, systemIdentifier: "7575" }] },
    /PG-VERSION.*alice: 16/s,
  ],
  [
    "data of another cluster, which may be a wallet",
    { ...fine, own: { version: 17, systemIdentifier: "1234" } },
    /PG-OTHER-SYSTEM.*1234 here, 7575 on alice.*mv /s,
  ],
  [
    "a disk that the log alone would fill",
    { ...fine, own: undefined, freeBytes: NEEDED_BYTES - 1 },
    /PG-DISK-TOO-SMALL.*3 GiB/s,
  ],
  [
    "a port that another program has",
    { ...fine, taken: [{ port: 5432, program: "postgres", pid: 9 }] },
    /MEMBER-PORT.*5432/s,
  ],
];
for (const [title, found, message] of REFUSALS) {
  test(`refuses ${title}`, (t) => {
    t.throws(() => requireBeginning(found, document), { message });
  });
}

test("a system identifier is read as text, since it has more digits than a number holds", (t) => {
  const text =
    "pg_control version number:            1700\nDatabase system identifier:           7575864313137311837\n";
  t.is(parseSystemIdentifier(text), "7575864313137311837");
  t.is(parseSystemIdentifier(""), undefined);
});
