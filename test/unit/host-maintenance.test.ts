import test from "ava";
import type { MaintenanceDocument } from "../../scripts/host/contract.ts";
import { type MaintenanceFacts, planMaintenance } from "../../scripts/host/maintenance/stage.ts";
import { loadTemplate } from "../../templates/load.ts";
import { renderMaintenanceCron } from "../../templates/maintenance-cron.ts";

const document: MaintenanceDocument = {
  stage: "maintenance",
  host: "alice",
  mounts: ["/srv/lightning", "/srv/replica"],
  balance: "0 0 * * *",
  scrub: "0 0 * * 0",
  deviceStats: "17 * * * *",
};

const file = (content: string, mode: string) =>
  ({ kind: "file", owner: "root", group: "root", mode, content }) as const;
const asDesired: MaintenanceFacts = {
  cron: file(renderMaintenanceCron(document), "0644"),
  intoJournal: file(loadTemplate("into-journal.sh"), "0755"),
  service: {
    load: "loaded",
    active: "active",
    sub: "running",
    enabled: "enabled",
    needsReload: false,
    mainPid: 1,
    startedAt: 1,
  },
};

test("a host as desired needs nothing", (t) => {
  t.deepEqual(planMaintenance(asDesired, document), []);
});

test("balance and scrub are the backup document's commands, word for word, for every volume", (t) => {
  const cron = renderMaintenanceCron(document);
  for (const mount of document.mounts) {
    t.regex(
      cron,
      new RegExp(
        `^0 0 \\* \\* \\* root .* /usr/bin/btrfs balance start -dusage=50 -dlimit=2 -musage=50 -mlimit=4 ${mount}$`,
        "m",
      ),
    );
    t.regex(cron, new RegExp(`^0 0 \\* \\* 0 root .* /usr/bin/btrfs scrub start -B -c 2 -n 4 ${mount}$`, "m"));
    t.regex(cron, new RegExp(`^17 \\* \\* \\* \\* root .* /usr/bin/btrfs device stats --check ${mount}$`, "m"));
  }
});

test("the crontab ends with a newline, without which cron ignores its last line", (t) => {
  t.true(renderMaintenanceCron(document).endsWith("/srv/replica\n"));
});

test("a changed schedule writes the crontab and nothing else", (t) => {
  const actions = planMaintenance(asDesired, { ...document, scrub: "0 3 1 * *" });
  t.deepEqual(
    actions.map(({ item }) => item),
    ["file:/etc/cron.d/twofold"],
  );
});

test("a crontab that others may write is given back to root", (t) => {
  const actions = planMaintenance(
    { ...asDesired, cron: { ...file(renderMaintenanceCron(document), "0666") } },
    document,
  );
  t.like(actions, [{ kind: "set-ownership", path: "/etc/cron.d/twofold" }]);
});

test("a stopped and disabled cron is enabled and started", (t) => {
  const service = { ...asDesired.service, active: "inactive", enabled: "disabled" } as MaintenanceFacts["service"];
  t.deepEqual(
    planMaintenance({ ...asDesired, service }, document).map(({ kind }) => kind),
    ["enable-unit", "start-unit"],
  );
});
