// @ts-check
/** The server's HTTP side. All addresses are relative to the page: it works behind a prefix. */

/**
 * @typedef {object} Language As GET /languages lists it.
 * @property {string} code
 * @property {string} name
 * @property {string[]} targets Codes it can be translated into.
 * @property {boolean} [speech] Whether it can be spoken to the recogniser.
 */

/** A refusal by the server (or the network) in the terms of problem+json. */
export class Refused extends Error {
  /**
   * @param {string} code The server's stable code, or "unreachable".
   * @param {number} status The HTTP status, 0 when there was no answer.
   * @param {string} detail The server's own words.
   * @param {number | null} retryAfter Seconds.
   */
  constructor(code, status, detail, retryAfter = null) {
    super(detail || code);
    this.code = code;
    this.status = status;
    this.detail = detail;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may succeed later. */
  get retryable() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/** @param {string} path */
function address(path) {
  return new URL(path, document.baseURI);
}

/**
 * @param {string} path
 * @param {RequestInit} options
 * @returns {Promise<any>}
 */
async function request(path, options) {
  let response;
  try {
    response = await fetch(address(path), { cache: "no-store", ...options });
  } catch {
    throw new Refused("unreachable", 0, "");
  }
  if (response.ok) return response.json();
  const problem = await response.json().catch(() => ({}));
  const after = Number.parseFloat(response.headers.get("Retry-After") ?? "");
  throw new Refused(
    String(problem.code ?? response.status),
    response.status,
    String(problem.detail ?? ""),
    Number.isFinite(after) ? after : null,
  );
}

/** @param {string} key */
function bearer(key) {
  return key ? { Authorization: `Bearer ${key}` } : undefined;
}

/**
 * @param {string} key
 * @returns {Promise<Language[]>}
 */
export async function languages(key) {
  return request("languages", { headers: { Accept: "application/json", ...bearer(key) } });
}

/**
 * Mint a one-use ticket. The key itself never appears in an address, where logs would keep it.
 * @param {string} key
 * @param {boolean} returning Whether a session is to go on: it has its place already.
 * @returns {Promise<URL>} Where to open the WebSocket.
 */
export async function streamAddress(key, returning) {
  const { ticket } = await request("v1/tickets", { method: "POST", headers: bearer(key) });
  const url = address("v1/stream");
  url.protocol = url.protocol.replace("http", "ws");
  url.searchParams.set("ticket", ticket);
  if (returning) url.searchParams.set("resume", "1");
  return url;
}
