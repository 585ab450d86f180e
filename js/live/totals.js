// Sums over what a stats frame says of each product and process. A sum with an unknown part is
// unknown, never the sum of the rest.

/** The sum of `values`; null when there are none or one of them is null. */
export function sum(values) {
  if (values.length === 0 || values.some((value) => value === null || value === undefined))
    return null;
  return values.reduce((total, value) => total + value, 0);
}

/** The largest of `values`; null when there are none or one of them is null. */
function largest(values) {
  return sum(values) === null ? null : Math.max(...values);
}

/** What the wall and the file show of a frame as one number each. */
export function totalsOf(frame, edges, settlers) {
  const of = (name) => frame.products.map((product) => product[name]);
  const ready = (tiles) => [...tiles.values()].filter(({ status }) => status === 'ready').length;
  const speaking = (tiles) => [...tiles.values()].filter(({ status }) => status !== 'silent');
  return {
    outboxDepth: sum(of('outbox_depth')),
    outboxOldestMs: largest(of('outbox_oldest_ms')),
    openUnits: sum(of('open_units')),
    // Nobody who settles was heard: that is not a rate of 0.
    settledPerSecond: speaking(settlers).length > 0 ? frame.settled_per_second : null,
    oversoldUnits: oversold(of('oversold_units')),
    clients: sum(speaking(edges).map((tile) => tile.ws_clients)),
    edgesReady: ready(edges),
    settlersReady: ready(settlers),
  };
}

/** One product that is oversold is enough to say so, whatever is known of the others. */
function oversold(values) {
  const known = values.reduce((total, value) => total + (value ?? 0), 0);
  return known > 0 ? known : sum(values);
}
