// When to ask for a new snapshot, because something was heard that only a snapshot explains.

/** The list of products an edge has is up to a second old. */
const WAIT_MIN_MS = 1_500;
/** What no snapshot explains is not asked for all the time. */
const WAIT_MAX_MS = 60_000;

export class Renewal {
  #sinceMs = null;
  #waitMs = WAIT_MIN_MS;

  /** Whether it is time to ask, when one is `needed` at `nowMs`; each time later than the last. */
  isDue(needed, nowMs) {
    if (!needed) {
      this.#sinceMs = null;
      this.#waitMs = WAIT_MIN_MS;
      return false;
    }
    this.#sinceMs ??= nowMs;
    if (nowMs - this.#sinceMs < this.#waitMs) return false;
    this.#sinceMs = nowMs;
    this.#waitMs = Math.min(2 * this.#waitMs, WAIT_MAX_MS);
    return true;
  }
}
