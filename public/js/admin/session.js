// Who is signed in: the token, in this module's memory and nowhere else, and when it is forgotten.
//
// It is never stored, put into an address or left in the page. Whoever reloads signs in again.

/** A desk nobody sits at is locked. */
const IDLE_MAX_MS = 15 * 60_000;
/** So long before, people are told, and any key or touch keeps them in (WCAG 2.2, 2.2.1). */
const WARN_MS = 60_000;
const LOOK_EVERY_MS = 1000;
const SIGNS_OF_LIFE = ['pointerdown', 'pointermove', 'keydown', 'wheel'];

/** Minutes without a sign of life after which the token is forgotten. */
export const IDLE_MAX_MINUTES = IDLE_MAX_MS / 60_000;

/** What to do after `idleMs` without a sign of life: `stay`, `warn` or `lock`. */
export function judgeIdle(idleMs) {
  // A clock set back must not keep a desk open.
  if (idleMs < -WARN_MS || idleMs >= IDLE_MAX_MS) return 'lock';
  return idleMs >= IDLE_MAX_MS - WARN_MS ? 'warn' : 'stay';
}

export class Session {
  #token = null;
  #aliveAt = 0;
  #warned = false;
  #onWarn;
  #onEnd;

  /**
   * `onWarn(soon)` when it will be locked soon, and when it no longer will; `onEnd(reason)` with
   * `left` (by choice), `idle`, `refused` (the token is no longer taken) or `absent` (no API).
   */
  constructor({ onWarn, onEnd }) {
    this.#onWarn = onWarn;
    this.#onEnd = onEnd;
    for (const sign of SIGNS_OF_LIFE) {
      addEventListener(sign, () => this.#live(), { capture: true, passive: true });
    }
    setInterval(() => this.#look(), LOOK_EVERY_MS);
    // A machine that slept is looked at before it is touched.
    document.addEventListener('visibilitychange', () => this.#look());
  }

  get isOpen() {
    return this.#token !== null;
  }

  /** What a request carries. */
  get authorization() {
    return `Bearer ${this.#token}`;
  }

  /** From now on requests carry this token. */
  begin(token) {
    this.#aliveAt = Date.now();
    this.#token = token;
  }

  /** Forgets the token. */
  end(reason) {
    if (!this.isOpen) return;
    this.#token = null;
    this.#warn(false);
    this.#onEnd(reason);
  }

  #live() {
    this.#look();
    this.#aliveAt = Date.now();
    this.#warn(false);
  }

  #look() {
    if (!this.isOpen) return;
    const verdict = judgeIdle(Date.now() - this.#aliveAt);
    if (verdict === 'lock') this.end('idle');
    else this.#warn(verdict === 'warn');
  }

  #warn(soon) {
    if (this.#warned === soon) return;
    this.#warned = soon;
    this.#onWarn(soon);
  }
}
