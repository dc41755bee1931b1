import test from "ava";
import { type FlushLatency, type FlushLook, measureFlush } from "../../scripts/host/postgres/copy.ts";

/** A primary that answers one look after the other, the last one for ever; also what it was asked. */
function primary(...answers: Omit<FlushLatency, "name" | "sync">[]) {
  const asked: string[] = [];
  const look = (marker: string): Promise<FlushLook> => {
    const answer = answers[Math.min(asked.length, answers.length - 1)];
    if (answer === undefined) throw new Error("no answer is left");
    asked.push(marker);
    return Promise.resolve({ asked: `0/${asked.length}`, standbys: [{ name: "pg2", sync: true, ...answer }] });
  };
  return { asked, look };
}

test("a standby's flush is waited for with one marker", async (t) => {
  const { asked, look } = primary({ flushed: false, ms: null }, { flushed: true, ms: 1.5 });
  t.deepEqual(await measureFlush(look), [{ name: "pg2", sync: true, flushed: true, ms: 1.5 }]);
  t.deepEqual(asked, ["", "0/1"]);
});

test("a figure that is gone though the standby has flushed is had by another marker", async (t) => {
  const { asked, look } = primary({ flushed: true, ms: null }, { flushed: false, ms: null }, { flushed: true, ms: 2 });
  t.deepEqual(await measureFlush(look), [{ name: "pg2", sync: true, flushed: true, ms: 2 }]);
  t.deepEqual(asked, ["", "", "0/2"]);
});

test("a standby that flushed without a figure is told apart from one that did not flush in time", async (t) => {
  const results = await Promise.all([true, false].map((flushed) => measureFlush(primary({ flushed, ms: null }).look)));
  t.deepEqual(
    results.map((result) => result?.map(({ flushed, ms }) => ({ flushed, ms }))),
    [[{ flushed: true, ms: null }], [{ flushed: false, ms: null }]],
  );
});

test("a PostgreSQL that does not answer has no figures, and one without standbys has none to wait for", async (t) => {
  t.is(await measureFlush(() => Promise.resolve(undefined)), undefined);
  t.deepEqual(await measureFlush(() => Promise.resolve({ asked: "0/1", standbys: [] })), []);
});
