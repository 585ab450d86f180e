// The live feed: one WebSocket, reopened for ever, and whether what it said can still be trusted.
//
// States: connecting (nothing heard yet), live, stale (heard before, not now), offline (not now,
// and not for a while). A frozen number is never called live.

/** The server sends a heartbeat every 15 s; silence for longer than this means trouble. */
const SILENCE_MAX_MS = 20_000;
/** Without a connection for this long, people are told they are offline. */
const OFFLINE_AFTER_MS = 12_000;
/** How often silence is noticed. */
const LOOK_EVERY_MS = 1000;
const BACKOFF_BASE_MS = 250;
const BACKOFF_CAP_MS = 8_000;

/** Wait before attempt `failures`, counted from 0: exponential, half of it chance. */
export function backoffMs(failures, random) {
  const full = Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** Math.min(failures, 10));
  return full / 2 + (random * full) / 2;
}

/** The state of a feed at `nowMs`, from when it last heard something and lost its connection. */
export function judge({ open, heardAt, lostAt }, nowMs, online) {
  const trusted = open && heardAt !== null && nowMs - heardAt <= SILENCE_MAX_MS;
  if (trusted) return 'live';
  if (!online || (lostAt !== null && nowMs - lostAt > OFFLINE_AFTER_MS)) return 'offline';
  return heardAt === null ? 'connecting' : 'stale';
}

export class Feed {
  #url;
  #onMessage;
  #onState;
  #socket = null;
  #facts = { open: false, heardAt: null, lostAt: null };
  #failures = 0;
  #state = '';
  #timer = 0;
  #watched = new Set();

  /**
   * Follows `path` of this host. `onMessage(message)` for every message; `onState(state)` whenever
   * the state changes.
   */
  constructor(path, onMessage, onState) {
    this.#url = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}${path}`;
    this.#onMessage = onMessage;
    this.#onState = onState;
    setInterval(() => this.#look(), LOOK_EVERY_MS);
    addEventListener('online', () => this.#connect());
    addEventListener('offline', () => this.#look());
    this.#connect();
    this.#look();
  }

  /** Asks for the outcome of an order; asked again after every reconnect. */
  watch(reservationId) {
    this.#watched.add(reservationId);
    this.#send({ type: 'watch', reservation_id: reservationId });
  }

  /** No longer asks. */
  unwatch(reservationId) {
    this.#watched.delete(reservationId);
  }

  #connect() {
    clearTimeout(this.#timer);
    if (this.#socket) return;
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.addEventListener('message', (event) => this.#hear(event.data));
    socket.addEventListener('close', () => this.#lose(socket));
  }

  #hear(text) {
    const message = JSON.parse(text);
    this.#facts.heardAt = performance.now();
    if (message.type === 'hello') {
      this.#failures = 0;
      this.#facts.open = true;
      this.#facts.lostAt = null;
      for (const id of this.#watched) this.#send({ type: 'watch', reservation_id: id });
    }
    this.#onMessage(message);
    this.#look();
  }

  #lose(socket) {
    if (this.#socket !== socket) return;
    this.#socket = null;
    this.#facts.open = false;
    this.#facts.lostAt ??= performance.now();
    this.#look();
    this.#timer = setTimeout(() => this.#connect(), backoffMs(this.#failures, Math.random()));
    this.#failures += 1;
  }

  #send(message) {
    if (this.#facts.open) this.#socket?.send(JSON.stringify(message));
  }

  #look() {
    const now = performance.now();
    const { open, heardAt } = this.#facts;
    if (open && heardAt !== null && now - heardAt > SILENCE_MAX_MS) {
      // Half-open: nobody is at the other end. Closing starts the reconnect at once.
      const socket = this.#socket;
      socket.close();
      this.#lose(socket);
      return;
    }
    const state = judge(this.#facts, now, navigator.onLine);
    if (state !== this.#state) {
      this.#state = state;
      this.#onState(state);
    }
  }
}
