/** Why the daemon ends: a message for stderr and the exit status that lightningd has for it. */
export class Failure extends Error {
  readonly status: number;
  constructor(message: string, status = 1) {
    super(message);
    this.name = "Failure";
    this.status = status;
  }
}

/** Core Lightning's exit statuses that the lab daemon can end with (its common/errcode.h and common/hsm_secret.h, v26.06.6). */
export const STATUS = {
  failed: 1,
  /** hsm_secret is encrypted and no passphrase was given. lightningd exits with the number of its hsm_secret error here. */
  passphraseRequired: 1,
  invalidMnemonic: 4,
  invalidHsmSecret: 7,
  pidFileLock: 11,
  /** lightning-hsmtool could not read the file. */
  hsmSecretFile: 24,
  walletMismatch: 30,
} as const;
