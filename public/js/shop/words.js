// What a buyer reads and presses in each state of a purchase. Pure.

import { count, timeOfDay } from '../base/format.js';
import { errorText, t } from '../base/i18n.js';

/** States in which Buy may be pressed. */
const PRESSABLE = new Set([
  'idle',
  'cancelled',
  'expired',
  'rejected',
  'refused',
  'sold_out',
  'unanswered',
]);
/** States a screen reader is told: what the buyer gets, not each try. */
const SPOKEN = new Set([
  'queued',
  'confirmed',
  'held',
  'paid',
  'cancelled',
  'expired',
  'rejected',
  'refused',
  'sold_out',
  'unanswered',
]);
const TONES = {
  confirmed: 'good',
  paid: 'good',
  held: 'good',
  queued: 'info',
  sending: 'info',
  waiting: 'warn',
  sold_out: 'bad',
  expired: 'bad',
  rejected: 'bad',
  refused: 'bad',
  unanswered: 'bad',
};

const place = ({ position }) => (position ? ` ${t('buy.place', { place: count(position) })}` : '');

const OUTCOMES = {
  idle: () => '',
  sending: ({ attempt }) => t(attempt > 1 ? 'buy.sending_again' : 'buy.sending'),
  waiting: ({ wait, untilMs }, nowMs) => {
    const seconds = Math.max(1, Math.ceil((untilMs - nowMs) / 1000));
    return t(`buy.${wait}`, { n: seconds, seconds: count(seconds) });
  },
  queued: ({ position, owned }) =>
    owned || !position ? t('buy.queued_owned') : t('buy.queued', { place: count(position) }),
  confirmed: (state) => t(state.owned ? 'buy.already_yours' : 'buy.confirmed') + place(state),
  held: (state) =>
    state.unanswered
      ? t('buy.resolve_unanswered')
      : t('buy.held', { time: timeOfDay(Date.parse(state.expiresAt)) }) + place(state),
  resolving: () => t('buy.resolving'),
  paid: (state) => t(state.owned ? 'buy.already_paid' : 'buy.paid') + place(state),
  cancelled: () => t('buy.cancelled'),
  expired: () => t('buy.expired'),
  rejected: () => t('buy.rejected'),
  sold_out: () => t('buy.sold_out'),
  refused: ({ problem }) => errorText(problem),
  unanswered: () => t('buy.unanswered'),
};

/** The sentence below the button at `nowMs`, local time. */
export function outcomeText(state, nowMs) {
  return OUTCOMES[state.name](state, nowMs);
}

/** How it is meant: `good`, `info`, `warn`, `bad`, or `quiet`. */
export function outcomeTone(state) {
  return state.unanswered ? 'bad' : (TONES[state.name] ?? 'quiet');
}

/** Whether a screen reader is told of this state. */
export const isSpoken = (state) => SPOKEN.has(state.name);

/** The button of a sale in `saleState`: its words, and whether it may be pressed. */
export function buyButton(saleState, state) {
  // A press without an answer may own an order, whatever became of the sale.
  const pressable =
    state.name === 'unanswered' || (saleState === 'open' && PRESSABLE.has(state.name));
  const untouched = PRESSABLE.has(state.name) && state.name !== 'unanswered';
  // A sale that does not sell says so, unless the buyer has something of it.
  const key =
    untouched && saleState !== 'open' ? `button.sale_${saleState}` : `button.${state.name}`;
  return { text: t(key), pressable };
}
