/**
 * `npm run prove -- postgres`: each fault of the PostgreSQL cluster TWOFOLD_RUNS times (3), under a writer; after each the primary that is
 * left is read, and every acknowledged label has to be there. What is proved with the real lightningd goes into the survival table, by the
 * ids in the titles. The controls, which must lose, come last: nothing is left of the cluster after them.
 */
import "./postgres/processes.ts";
import "./postgres/links.ts";
import "./postgres/disks.ts";
import "./postgres/standbys.ts";
import "./postgres/lightningd.ts";
import "./postgres/verbs.ts";
import "./postgres/controls.ts";
