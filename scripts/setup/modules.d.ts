/** The set-up scripts are JavaScript, since they run before anything is installed. */
declare module "*.mjs";
