/** `npm run prove -- failures`: the tests of what can happen to two copies, whose passes with the real lightningd go into the survival table. */
import "../cluster/two-copies.test.ts";
