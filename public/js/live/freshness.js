// Whether what is shown can be called live, and since when it cannot.
//
// Live is: the connection is, and a stats frame came within three seconds. Stock alone is live as
// soon as anything is heard.

import { SILENT_AFTER_MS } from './processes.js';

export class Freshness {
  #state = 'connecting';
  #heardMs = null;
  #statsMs = null;
  #lostMs = null;
  #silent = false;

  /** Something was heard; what happened. Times are local. */
  hear(isStats, nowMs) {
    this.#heardMs = nowMs;
    if (!isStats) return [];
    const events = this.#silent
      ? [{ kind: 'heard_again', tone: 'good', ms: nowMs - this.#statsMs }]
      : [];
    this.#silent = false;
    this.#statsMs = nowMs;
    return events;
  }

  /** The connection is something else now; what happened. */
  connect(state, nowMs) {
    const was = this.#state;
    this.#state = state;
    if (was === 'live' && state !== 'live') {
      this.#lostMs = nowMs;
      return [{ kind: 'lost', tone: 'bad' }];
    }
    if (state !== 'live' || this.#lostMs === null) return [];
    const events = [{ kind: 'reconnected', tone: 'good', ms: nowMs - this.#lostMs }];
    this.#lostMs = null;
    return events;
  }

  /** Looks whether it became silent; what happened. */
  look(nowMs) {
    const silent =
      this.#state === 'live' && this.#statsMs !== null && nowMs - this.#statsMs > SILENT_AFTER_MS;
    if (!silent || this.#silent) return [];
    this.#silent = true;
    return [{ kind: 'silent', tone: 'warn' }];
  }

  /**
   * Waiting, live or silent, figures and stock each, and when they were heard last: `heardMs` of
   * server time, `ageMs` ago.
   */
  picture({ localMs, serverMs }) {
    const judge = (heardMs) => {
      if (heardMs === null) return { view: 'waiting', heardMs, ageMs: 0 };
      const ageMs = localMs - heardMs;
      const live = this.#state === 'live' && ageMs <= SILENT_AFTER_MS;
      return { view: live ? 'live' : 'silent', heardMs: serverMs - ageMs, ageMs };
    };
    return { connection: this.#state, stats: judge(this.#statsMs), stock: judge(this.#heardMs) };
  }
}
