// Adjustments whose outcome is not known yet, each with the key under which it happens once.
//
// Invariant: a key is written down before it is sent, and forgotten only when the outcome is known.
// It outlives a reload and a sign-out of this tab; it is no secret.

const STORED = 'flashsale.adjustments';

function load() {
  try {
    return new Map(JSON.parse(sessionStorage.getItem(STORED)) ?? []);
  } catch {
    return new Map();
  }
}

const pending = load();
const store = () => sessionStorage.setItem(STORED, JSON.stringify([...pending]));

/** The adjustment of a product that may have been done: `{delta, reason, key}`. */
export const pendingAdjustment = (productId) => pending.get(productId) ?? null;

/** Writes down what is about to be sent; the one whose outcome is open, if there is one. */
export function beginAdjustment(productId, delta, reason) {
  const open = pending.get(productId);
  if (open) return open;
  const begun = { delta, reason, key: newKey() };
  pending.set(productId, begun);
  store();
  return begun;
}

/** Forgets it: what became of it is known. */
export function endAdjustment(productId) {
  pending.delete(productId);
  store();
}

/** 128 bits of chance; `crypto.randomUUID` is not there without TLS. */
function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `admin-${[...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}
