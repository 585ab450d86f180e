// How fast a sale sells, and when it will have sold out if that goes on.
//
// Nothing is said that ten seconds of sales cannot carry: no time from a handful of orders, none
// hours ahead, none while what is shown may be old.

/** How far back a pace looks. */
const WINDOW_MS = 10_000;
/** Less than this says nothing yet. */
const OBSERVED_MIN_MS = 2_000;
/** Fewer units than this in a window are chance: five are 5 ± 2. */
const UNITS_MIN = 5;
/** Ten seconds cannot tell what happens later than this. */
const FORESIGHT_MAX_MS = 2 * 3_600_000;

/** The pace of one sale, from its stock as it changes. */
export class Pace {
  /** `[ms, stock]`, oldest first; the first may be older: the stock as the window began. */
  #points = [];
  #state = null;

  /** Takes a stock that was heard at `nowMs`, and the state of its sale. */
  note(stock, state, nowMs) {
    // What was before the doors opened is no pace.
    if (state === 'open' && this.#state !== 'open') this.#points = [];
    this.#state = state;
    const last = this.#points.at(-1);
    if (!last || last[1] !== stock || last[0] > nowMs) this.#points.push([nowMs, stock]);
    this.#forget(nowMs);
  }

  /** Units sold within the window (negative when stock was added), and how long that is. */
  at(nowMs) {
    this.#forget(nowMs);
    if (this.#points.length === 0) return { units: 0, observedMs: 0, perSecond: null };
    const [[firstMs, first]] = this.#points;
    const units = first - this.#points.at(-1)[1];
    const observedMs = Math.min(WINDOW_MS, nowMs - firstMs);
    const known = observedMs >= OBSERVED_MIN_MS && units >= 0;
    return { units, observedMs, perSecond: known ? (units * 1000) / observedMs : null };
  }

  #forget(nowMs) {
    const inside = this.#points.findIndex(([ms]) => ms > nowMs - WINDOW_MS);
    const begin = inside === -1 ? this.#points.length - 1 : inside - 1;
    if (begin > 0) this.#points.splice(0, begin);
  }
}

/**
 * What can be said of the end of a sale at `nowMs` of server time: `{ kind }`, with `leftMs` and
 * `atMs` where there is a time. `sale` is `{ stock, state, opensAt, closesAt }`, in ms or null.
 */
export function project(sale, pace, live, nowMs) {
  const { stock, state, opensAt, closesAt } = sale;
  if (!live) return { kind: 'unknown' };
  if (state === 'scheduled' && opensAt !== null) return until('scheduled', opensAt, nowMs);
  if (state !== 'open') return { kind: state };
  if (pace.observedMs < OBSERVED_MIN_MS) return { kind: 'watching' };
  if (pace.units < 0) return { kind: 'added' };
  if (pace.units === 0) return { kind: 'still' };
  if (pace.units < UNITS_MIN) return { kind: 'few' };
  const endMs = nowMs + (stock * 1000) / pace.perSecond;
  if (closesAt !== null && closesAt < endMs) {
    const rest = stock - (pace.perSecond * (closesAt - nowMs)) / 1000;
    return { ...until('closes_first', closesAt, nowMs), units: Math.round(rest) };
  }
  if (endMs - nowMs > FORESIGHT_MAX_MS) return { kind: 'far' };
  return until('sells_out', endMs, nowMs);
}

function until(kind, atMs, nowMs) {
  return { kind, atMs, leftMs: Math.max(0, atMs - nowMs) };
}

/**
 * The sale to show large: the one that sells fastest. It stays the one shown until another is twice
 * as fast, so that the big number does not jump about. `sales` are `{ id, perSecond, state }`.
 */
export function hottest(sales, shownId) {
  const speed = (sale) => sale?.perSecond ?? 0;
  const rank = ({ state }) =>
    ['open', 'opening', 'paused', 'scheduled', 'sold_out'].indexOf(state) + 1 || 9;
  const shown = sales.find(({ id }) => id === shownId);
  const fastest = sales.reduce((best, sale) => (speed(sale) > speed(best) ? sale : best), null);
  if (fastest && speed(fastest) > 2 * speed(shown)) return fastest.id;
  if (shown && (speed(shown) > 0 || !sales.some((sale) => rank(sale) < rank(shown))))
    return shown.id;
  return [...sales].sort((a, b) => rank(a) - rank(b) || a.id - b.id)[0]?.id ?? null;
}
