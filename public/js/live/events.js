// What happened, from what was heard before and what is heard now. Nobody sends events.
//
// An event is `{ kind, tone, …parameters of its text }`. What is seen for the first time is no
// event: it may have been so for long.

import { thresholdPassed } from '../base/sales.js';

const LOG_MAX = 100;

const STATES = {
  open: (before) =>
    before === 'paused' ? 'resumed' : before === 'sold_out' ? 'on_sale_again' : 'opened',
  paused: () => 'paused',
  sold_out: () => 'sold_out',
  closed: () => 'ended',
};
const TONES = {
  opened: 'good',
  resumed: 'good',
  on_sale_again: 'good',
  paused: 'warn',
  sold_out: 'accent',
  ended: 'info',
};

/** Events of one sale, each side `{ name, stock, total, state }`. */
export function saleEvents(before, after) {
  const events = [];
  const percent = thresholdPassed(before.stock, after.stock, after.total);
  // That nothing is left is said by the state.
  if (percent > 0) events.push({ kind: 'left', tone: 'accent', name: after.name, percent });
  const kind = before.state !== after.state && STATES[after.state]?.(before.state);
  if (kind) events.push({ kind, tone: TONES[kind], name: after.name });
  return events;
}

/** Events of what the settler that leads says of one product, each side as in the stats frame. */
export function bookEvents(before, after, name) {
  const events = [];
  if (before.gate_open && !after.gate_open)
    events.push({ kind: 'gate_closed', tone: 'warn', name });
  if (!before.gate_open && after.gate_open)
    events.push({ kind: 'gate_opened', tone: 'good', name });
  for (const [field, kind] of [
    ['oversold_units', 'oversold'],
    ['drift_units', 'drift'],
  ]) {
    if (after[field] && after[field] !== before[field]) {
      events.push({ kind, tone: 'bad', name, n: after[field] });
    }
  }
  return events;
}

/** Events of the processes of one role (`edge`, `settler`), each side as `mergeTiles` makes it. */
export function processEvents(role, before, after) {
  const events = [];
  for (const [name, tile] of after) {
    const known = before.get(name);
    const say = (what, tone) => events.push({ kind: `process.${what}`, tone, role, name });
    if (!known) say('joined', 'info');
    else if (known.status !== 'silent' && tile.status === 'silent') say('gone', 'bad');
    else if (known.status === 'ready' && tile.status === 'not_ready') say('not_ready', 'warn');
    else if (known.status !== 'ready' && tile.status === 'ready') say('back', 'good');
    if (known && !known.leads && tile.leads) say('leads', 'info');
  }
  return events;
}

/** The last events, newest first. */
export class EventLog {
  #events = [];
  #count = 0;

  add({ serverMs }, events) {
    for (const event of events) {
      this.#events.unshift({ ...event, atMs: serverMs, id: ++this.#count });
    }
    this.#events.length = Math.min(this.#events.length, LOG_MAX);
  }

  all() {
    return [...this.#events];
  }
}
