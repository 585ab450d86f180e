// How much of each sale was left over the last minutes, and which sales are worth a line.

/** Seconds the charts go back. */
export const SPAN_S = 300;
/** More lines than this are told apart by nobody. */
export const LINES_MAX = 4;
/** Stock is looked at no more often than this: some 1,200 points in all. */
const EVERY_MS = 250;

export class Shares {
  #times = [];
  #byId = new Map();

  /** Takes the share left of each product, `[id, percent]`; of others nothing is known. */
  add(nowMs, shares) {
    const last = this.#times.at(-1);
    const replaces = last !== undefined && nowMs / 1000 - last < EVERY_MS / 1000;
    // A point that is too close takes the place of the last one: the newest is never missing.
    if (replaces) this.#pop();
    this.#times.push(replaces ? last : nowMs / 1000);
    const now = new Map(shares);
    for (const id of now.keys()) {
      if (!this.#byId.has(id)) this.#byId.set(id, new Array(this.#times.length - 1).fill(null));
    }
    for (const [id, column] of this.#byId) column.push(now.get(id) ?? null);
    this.#forget();
  }

  /** The same, and it stays as it is now. */
  copy() {
    const copy = new Shares();
    copy.#times = [...this.#times];
    copy.#byId = new Map([...this.#byId].map(([id, column]) => [id, [...column]]));
    return copy;
  }

  /** Times in seconds, then a column for each of these products, for a chart. */
  columns(ids) {
    const none = () => new Array(this.#times.length).fill(null);
    return [[...this.#times], ...ids.map((id) => [...(this.#byId.get(id) ?? none())])];
  }

  /** Percent a product lost in the time that is known, added stock not counted. */
  #fallen(id) {
    const known = (this.#byId.get(id) ?? []).filter((share) => share !== null);
    return known.reduce((sum, share, i) => sum + Math.max(0, (known[i - 1] ?? share) - share), 0);
  }

  /** The products worth a line, those that fell furthest, by id; `always` is among them. */
  choose(ids, always) {
    const fallen = new Map(ids.map((id) => [id, id === always ? Infinity : this.#fallen(id)]));
    const ranked = [...ids].sort((a, b) => fallen.get(b) - fallen.get(a) || a - b);
    return ranked.slice(0, LINES_MAX).sort((a, b) => a - b);
  }

  #pop() {
    this.#times.pop();
    for (const column of this.#byId.values()) column.pop();
  }

  #forget() {
    const first = this.#times.findIndex((time) => time >= this.#times.at(-1) - SPAN_S - 2);
    if (first <= 0) return;
    for (const column of [this.#times, ...this.#byId.values()]) column.splice(0, first);
    for (const [id, column] of this.#byId) {
      if (column.every((share) => share === null)) this.#byId.delete(id);
    }
  }
}

/** Each product keeps its place, and so its colour, while it has a line; places are ids or null. */
export function keepPlaces(places, ids) {
  const kept = Array.from({ length: LINES_MAX }, (_, i) =>
    ids.includes(places[i]) ? places[i] : null,
  );
  for (const id of ids.filter((id) => !kept.includes(id))) kept[kept.indexOf(null)] = id;
  return kept;
}
