/** The RPC methods that the lab needs: getinfo, invoice, listinvoices, stop. Any other is unknown, as it is to lightningd without its plugin. */
import { type Method, type Params, RPC, RpcError, STOP } from "./rpc.ts";
import { type InvoiceRow, VERSION, type Wallet } from "./wallet.ts";

export interface Identity {
  nodeId: string;
  alias: string;
  /** Six hexadecimal digits. */
  color: string;
  network: string;
  /** The network directory, which lightningd calls lightning-dir here. */
  directory: string;
}

const LABEL_BYTES = 128;

export function createMethods(identity: Identity, wallet: Wallet): Record<string, Method> {
  return {
    getinfo: { parameters: [], required: 0, run: () => getinfo(identity) },
    invoice: {
      parameters: ["amount_msat", "label", "description", "expiry"],
      required: 3,
      run: (params) => invoice(wallet, params),
    },
    listinvoices: { parameters: ["label"], required: 0, run: (params) => listinvoices(wallet, params) },
    stop: { parameters: [], required: 0, run: () => STOP },
  };
}

function getinfo(identity: Identity): unknown {
  return {
    id: identity.nodeId,
    alias: identity.alias,
    color: identity.color,
    num_peers: 0,
    num_pending_channels: 0,
    num_active_channels: 0,
    num_inactive_channels: 0,
    address: [],
    binding: [],
    version: VERSION,
    blockheight: 0,
    network: identity.network,
    fees_collected_msat: 0,
    "lightning-dir": identity.directory,
  };
}

function amount(value: unknown): bigint | undefined {
  if (value === "any") return undefined;
  const text = typeof value === "number" ? String(value) : typeof value === "string" ? value.replace(/msat$/, "") : "";
  if (!/^[1-9]\d{0,18}$/.test(text))
    throw new RpcError(
      RPC.invalidParams,
      `amount_msat: should be positive msat or 'any': invalid token '${String(value)}'`,
    );
  return BigInt(text);
}

/** lightningd takes a label that is a number for its digits. */
function label(value: unknown): string {
  if (typeof value !== "string" && typeof value !== "number")
    throw new RpcError(RPC.invalidParams, `label: should be a string or number: invalid token '${String(value)}'`);
  const text = String(value);
  if (Buffer.byteLength(text) > LABEL_BYTES)
    throw new RpcError(RPC.invalidParams, `Label '${text}' over ${LABEL_BYTES} bytes`);
  return text;
}

function invoice(wallet: Wallet, params: Params): unknown {
  const { description, expiry } = params;
  if (typeof description !== "string")
    throw new RpcError(RPC.invalidParams, `description: should be a string: invalid token '${String(description)}'`);
  if (expiry !== undefined && !(typeof expiry === "number" && Number.isSafeInteger(expiry) && expiry >= 0))
    throw new RpcError(
      RPC.invalidParams,
      `expiry: should be an unsigned 64 bit integer: invalid token '${String(expiry)}'`,
    );
  const created = wallet.createInvoice({
    amountMsat: amount(params.amount_msat),
    label: label(params.label),
    description,
    expirySeconds: expiry,
  });
  if (!created) throw new RpcError(RPC.labelExists, `Duplicate label '${String(params.label)}'`);
  return {
    payment_hash: created.row.payment_hash,
    expires_at: created.row.expiry_time,
    bolt11: created.row.bolt11,
    payment_secret: created.paymentSecret,
    created_index: created.row.id,
    warning_capacity: "Insufficient incoming channel capacity to pay invoice",
  };
}

function listinvoices(wallet: Wallet, params: Params): unknown {
  const wanted = params.label === undefined || params.label === null ? undefined : label(params.label);
  return { invoices: wallet.listInvoices(wanted).map(describe) };
}

function describe(row: InvoiceRow): unknown {
  return {
    label: row.label,
    bolt11: row.bolt11,
    payment_hash: row.payment_hash,
    ...(row.msatoshi === null ? {} : { amount_msat: row.msatoshi }),
    status: BigInt(row.expiry_time) * 1000n < BigInt(Date.now()) ? "expired" : "unpaid",
    description: row.description,
    expires_at: row.expiry_time,
    created_index: row.id,
  };
}
