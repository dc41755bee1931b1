import test from "ava";
import fc from "fast-check";
import { ALERT_KINDS, type AlertCode, type Condition, type Seen } from "../../scripts/host/alerts/alert.ts";
import {
  type AlertEvent,
  advance,
  called,
  type History,
  lasting,
  NO_HISTORY,
  type Policy,
} from "../../scripts/host/alerts/history.ts";

const MINUTE = 60_000;
const START = Date.parse("2026-11-23T12:00:00.000Z");
const at = (minutes: number) => new Date(START + minutes * MINUTE);
const policy: Policy = { command: true, repeatMs: 60 * MINUTE };
const of = (code: AlertCode, subject = "x", value = "v"): Condition => ({ code, subject, value });
const sees = (...conditions: Condition[]): Seen[] => [{ look: "look", conditions }];
const kinds = (events: AlertEvent[]) => events.map(({ kind, code }) => `${kind} ${code}`);

/** Goes through looks a minute apart; the command takes all that it is given unless `takes` says otherwise. */
function run(looks: Seen[][], options: { policy?: Policy; takes?: (minute: number) => boolean } = {}) {
  let history: History = NO_HISTORY;
  const said: string[] = [];
  const sent: string[] = [];
  looks.forEach((seen, minute) => {
    const next = advance(history, seen, at(minute), options.policy ?? policy);
    said.push(...kinds(next.events).map((event) => `${minute}: ${event}`));
    history = next.history;
    if (history.outbox.length === 0) return;
    if (options.takes?.(minute) === false) {
      history = called(history, { ok: false, why: "no route" }, at(minute));
      return;
    }
    sent.push(...kinds(history.outbox).map((event) => `${minute}: ${event}`));
    history = called(history, { ok: true }, at(minute));
  });
  return { history, said, sent };
}
const repeat = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value);

test("an alert is told at once, again each hour while it lasts, and once when it is over", (t) => {
  const { said, sent, history } = run([...repeat(125, sees(of("DEVICE_ERRORS"))), sees(), sees()]);
  const expected = ["0: raised", "60: again", "120: again", "125: over"].map((event) => `${event} DEVICE_ERRORS`);
  t.deepEqual(said, expected);
  t.deepEqual(sent, expected);
  t.deepEqual(lasting(history), []);
});

test("a host on which nothing is wrong has nothing to tell, and its state does not change", (t) => {
  const { history, said } = run(repeat(3, sees()));
  t.deepEqual(history, NO_HISTORY);
  t.deepEqual(said, []);
});

test("what passes by itself within its time is never told", (t) => {
  const look = sees(of("NODE_WAITING"));
  t.is(ALERT_KINDS.NODE_WAITING.afterMs, 3 * MINUTE);
  t.deepEqual(run([look, look, look, sees(), look, look, sees()]).said, []);
  t.deepEqual(run([look, look, look, look]).said, ["3: raised NODE_WAITING"]);
});

test("an alert that comes and goes calls the command no more than once an hour, and the journal each time", (t) => {
  const looks = Array.from({ length: 60 }, (_, minute) => (minute % 2 === 0 ? sees(of("DEVICE_ERRORS")) : sees()));
  const { said, sent } = run(looks);
  t.is(said.length, 60);
  t.deepEqual(sent, ["0: raised DEVICE_ERRORS", "1: over DEVICE_ERRORS"]);
});

test("a look that failed ends no alert, and is an alert itself when it goes on failing", (t) => {
  const failed: Seen[] = [{ look: "look", failed: "it hangs" }];
  const { said, history } = run([sees(of("DEVICE_ERRORS")), ...repeat(7, failed)]);
  t.deepEqual(said, ["0: raised DEVICE_ERRORS", "6: raised LOOK_FAILED"]);
  t.deepEqual(
    lasting(history).map(({ code, subject, value }) => [code, subject, value]),
    [
      ["DEVICE_ERRORS", "x", "v"],
      ["LOOK_FAILED", "look", "it hangs"],
    ],
  );
  t.deepEqual(kinds(advance(history, sees(), at(8), policy).events), ["over DEVICE_ERRORS", "over LOOK_FAILED"]);
});

test("what a failing command was not told is told when it works again, in order, and its failure is an alert", (t) => {
  const look = sees(of("DEVICE_ERRORS"));
  const { said, sent, history } = run([look, look, sees(), sees(), sees()], { takes: (minute) => minute >= 3 });
  t.deepEqual(said, [
    "0: raised DEVICE_ERRORS",
    "1: raised ALERT_COMMAND",
    "2: over DEVICE_ERRORS",
    "4: over ALERT_COMMAND",
  ]);
  t.deepEqual(sent, ["3: raised DEVICE_ERRORS", "3: over DEVICE_ERRORS"]);
  t.is(history.failure, undefined);
});

test("a command that goes on failing is said to fail since its first failure", (t) => {
  const { history } = run(repeat(3, sees(of("DEVICE_ERRORS"))), { takes: () => false });
  t.deepEqual(history.failure, { since: at(0).toISOString(), why: "no route" });
  t.is(history.outbox.length, 1, "it is handed over again, and not once a look");
});

test("what a command was not told yet does not pile up while its alert is repeated", (t) => {
  const { history } = run(repeat(200, sees(of("DEVICE_ERRORS"))), { takes: () => false });
  t.deepEqual(kinds(history.outbox), ["raised DEVICE_ERRORS"]);
});

test("without a command nothing waits for one, and a failure of a former one is forgotten", (t) => {
  const { history } = run(repeat(2, sees(of("DEVICE_ERRORS"))), { takes: () => false });
  const without = advance(history, sees(of("DEVICE_ERRORS")), at(3), { ...policy, command: false }).history;
  t.deepEqual(without.outbox, []);
  t.is(without.failure, undefined);
  t.is(lasting(without).length, 1);
});

test("a command that is declared later is told at once of what lasts already", (t) => {
  const before = run(repeat(3, sees(of("DEVICE_ERRORS"))), { policy: { ...policy, command: false } }).history;
  t.deepEqual(kinds(advance(before, sees(of("DEVICE_ERRORS")), at(3), policy).history.outbox), [
    "raised DEVICE_ERRORS",
  ]);
});

test("a changed value is the same alert, since the same time", (t) => {
  const { history, said } = run([
    sees(of("DEVICE_ERRORS", "device 1", "1 write")),
    sees(of("DEVICE_ERRORS", "device 1", "9 write")),
  ]);
  t.is(said.length, 1);
  t.like(lasting(history)[0], { value: "9 write", since: at(0).toISOString() });
});

test("an alert that comes back begins anew: it has to last again, and is since then", (t) => {
  const look = sees(of("NODE_WAITING"));
  const { history, said } = run([...repeat(4, look), sees(), ...repeat(4, look)]);
  t.deepEqual(said, ["3: raised NODE_WAITING", "4: over NODE_WAITING", "8: raised NODE_WAITING"]);
  t.is(lasting(history)[0]?.since, at(5).toISOString());
});

test("a clock that was a year ahead and is put right silences nothing", (t) => {
  const ahead = advance(NO_HISTORY, sees(of("DEVICE_ERRORS"), of("NODE_WAITING")), at(525_600), policy).history;
  const { events, history } = advance(
    called(ahead, { ok: true }, at(0)),
    sees(of("DEVICE_ERRORS"), of("NODE_WAITING")),
    at(0),
    policy,
  );
  t.deepEqual(kinds(events), ["again DEVICE_ERRORS", "raised NODE_WAITING"]);
  t.deepEqual(kinds(history.outbox), ["again DEVICE_ERRORS", "raised NODE_WAITING"]);
});

test("two things with one code are two alerts", (t) => {
  const { said } = run([
    sees(of("PG_LAG", "pg2"), of("PG_LAG", "pg3")),
    sees(of("PG_LAG", "pg3")),
    sees(of("PG_LAG", "pg3")),
  ]);
  t.deepEqual(said, ["1: raised PG_LAG"]);
});

const presence = fc.array(fc.boolean(), { minLength: 1, maxLength: 300 });

test("whatever comes and goes: every lasting alert was said, none is told more often than once an hour, none stays open", (t) => {
  fc.assert(
    fc.property(presence, fc.integer({ min: 1, max: 90 }), (present, repeatMinutes) => {
      const looks = [...present.map((is) => (is ? sees(of("DEVICE_ERRORS")) : sees())), sees()];
      const { said, sent, history } = run(looks, { policy: { command: true, repeatMs: repeatMinutes * MINUTE } });
      const minutes = (kind: RegExp, list: string[]) =>
        list.filter((line) => kind.test(line)).map((line) => Number.parseInt(line, 10));
      const beginnings = present.filter((is, minute) => is && !present[minute - 1]).length;
      t.is(minutes(/raised/, said).length, beginnings);
      t.is(minutes(/over/, said).length, beginnings);
      const told = minutes(/raised|again/, sent);
      for (const [index, minute] of told.entries())
        if (index > 0) t.true(minute - (told[index - 1] ?? 0) >= repeatMinutes);
      if (present.includes(true)) t.regex(sent.at(-1) ?? "", /over/);
      t.deepEqual(lasting(history), []);
    }),
  );
});
