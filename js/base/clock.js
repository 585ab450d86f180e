// Server time, from what the server says of it: a countdown must not depend on a visitor's clock.
//
// A message is older than its journey, so the offset that puts the server furthest ahead is the one
// least delayed. It is forgotten slowly, as clocks drift and are corrected.

/** How far back an offset may be trusted: a few heartbeats of 15 s. */
const TRUST_MS = 60_000;

export class ServerClock {
  #samples = [];

  /** Takes the `server_time` (RFC 3339) of a message that was heard at `nowMs`, a local time. */
  hear(serverTime, nowMs) {
    const offset = Date.parse(serverTime) - nowMs;
    if (!Number.isFinite(offset)) return;
    this.#samples = this.#samples.filter(([when]) => Math.abs(nowMs - when) < TRUST_MS);
    // One a second is enough, and keeps this at 60.
    const last = this.#samples.at(-1);
    if (last && nowMs - last[0] < 1000) last[1] = Math.max(last[1], offset);
    else this.#samples.push([nowMs, offset]);
  }

  /** Server time at `nowMs`, ms since the Unix epoch; local time before anything was heard. */
  at(nowMs) {
    if (this.#samples.length === 0) return nowMs;
    return nowMs + Math.max(...this.#samples.map(([, offset]) => offset));
  }
}
