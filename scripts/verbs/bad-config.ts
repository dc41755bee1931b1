/** A stack's config can't be used; the message holds every problem of it, each with its fix. */
export class BadConfig extends Error {}
