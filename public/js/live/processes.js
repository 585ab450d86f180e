// The edges and settlers there are. A viewer who is passed on to another edge hears of fewer at
// first, so those known before are remembered here until they were silent for a minute.

/** A contribution comes every second; three of them missing is silence. */
export const SILENT_AFTER_MS = 3_000;
const FORGET_AFTER_MS = 60_000;

/** What a process is, from what it said last and how long ago that was. */
export function statusOf(ready, ageMs) {
  if (ageMs > SILENT_AFTER_MS) return 'silent';
  return ready ? 'ready' : 'not_ready';
}

/**
 * The tiles of a frame, and those known before: a map by name, each with `heardMs` and `status`.
 * `known` is what this returned for the frame before.
 */
export function mergeTiles(known, tiles, nowMs) {
  const heard = new Map(
    tiles.map((tile) => [tile.name, { ...tile, heardMs: nowMs - tile.age_ms }]),
  );
  const merged = new Map();
  for (const name of [...new Set([...known.keys(), ...heard.keys()])].sort(byNumber)) {
    const tile = newest(known.get(name), heard.get(name));
    const ageMs = nowMs - tile.heardMs;
    if (ageMs <= FORGET_AFTER_MS)
      merged.set(name, { ...tile, status: statusOf(tile.ready, ageMs) });
  }
  return merged;
}

/** A frame of another edge may know of a process only what is older than what we know. */
function newest(known, heard) {
  if (!known || !heard) return heard ?? known;
  return heard.heardMs + SILENT_AFTER_MS < known.heardMs ? known : heard;
}

const collator = new Intl.Collator('en', { numeric: true });
/** `edge-2` before `edge-10`. */
const byNumber = (a, b) => collator.compare(a, b);
