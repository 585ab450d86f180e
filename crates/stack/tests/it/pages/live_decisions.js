// What the wall decides, in its modules without a page: pace and end of a sale, events, who is there,
// the file. The body of an asynchronous function; it returns what did not hold.

const [{ Pace, project, hottest }, events, { mergeTiles }, { totalsOf }, { Freshness }, { Records },
  { Shares, keepPlaces }, { field }, { thresholdPassed }] = await Promise.all(
  ['live/pace', 'live/events', 'live/processes', 'live/totals', 'live/freshness', 'live/records',
    'live/shares', 'base/csv', 'base/sales'].map((name) => import(`/js/${name}.js`)),
);
const found = [];
/** Holds what was decided against what must be. */
const same = (what, actual, expected) => {
  const [is, must] = [actual, expected].map((value) => JSON.stringify(value));
  if (is !== must) found.push(`${what}: ${is}, not ${must}`);
};
/** Events in short: the kind, and a number if there is one. */
const short = (told) => told.map(({ kind, percent, n, ms }) => [kind, percent ?? n ?? ms ?? ''].join(' ').trim());

// A pace is that of the last ten seconds.
const pace = (notes, atMs) => {
  const made = new Pace();
  for (const [stock, state, ms] of notes) made.note(stock, state, ms);
  return made.at(atMs).perSecond;
};
same('sold within', pace([[1000, 'open', 0], [900, 'open', 5000]], 10_000), 10);
same('sold before', pace([[1000, 'open', 0], [900, 'open', 5000]], 16_000), 0);
same('sold both', pace([[1000, 'open', 0], [900, 'open', 5000], [860, 'open', 14_000]], 20_000), 4);
same('doors opened', pace([[1000, 'scheduled', 0], [1000, 'open', 9000], [980, 'open', 11_000]], 11_000), 10);
same('too short', pace([[1000, 'open', 0], [990, 'open', 500]], 1000), null);
same('stock was added', pace([[1000, 'open', 0], [1500, 'open', 5000]], 9000), null);

// An end is said only when it can be.
const end = (sale, seen, live = true) => project(
  { stock: 300, state: 'open', opensAt: null, closesAt: null, ...sale },
  { units: 100, observedMs: 10_000, perSecond: 10, ...seen }, live, 1000);
same('sells out', end(), { kind: 'sells_out', atMs: 31_000, leftMs: 30_000 });
same('closes later', end({ closesAt: 99_000 }).kind, 'sells_out');
same('closes first', end({ closesAt: 11_000 }), { kind: 'closes_first', atMs: 11_000, leftMs: 10_000, units: 200 });
same('opens', end({ state: 'scheduled', opensAt: 6000 }), { kind: 'scheduled', atMs: 6000, leftMs: 5000 });
same('not live', end({}, {}, false).kind, 'unknown');
same('just begun', end({}, { observedMs: 900 }).kind, 'watching');
same('few', end({}, { units: 4, perSecond: 0.4 }).kind, 'few');
same('nothing', end({}, { units: 0, perSecond: 0 }).kind, 'still');
same('added', end({}, { units: -1, perSecond: null }).kind, 'added');
same('far', end({ stock: 1_000_000 }).kind, 'far');
for (const state of ['paused', 'sold_out', 'closed']) same(state, end({ state }).kind, state);

// The large number does not jump about.
const sales = (...speeds) => speeds.map((perSecond, i) => ({ id: i + 1, perSecond, state: 'open' }));
same('the fastest', hottest(sales(5, 9), null), 2);
same('not yet twice as fast', hottest(sales(5, 9), 1), 1);
same('twice as fast', hottest(sales(5, 11), 1), 2);
same('nobody knows', hottest(sales(null, null), 2), 2);
same('it is over', hottest([{ id: 1, perSecond: 0, state: 'sold_out' }, ...sales(0, 0).slice(1)], 1), 2);
same('no sale', hottest([], 1), null);

// Events follow from what changed.
const sale = { name: 'x', stock: 1000, total: 1000, state: 'open' };
const sold = (before, after) => short(events.saleEvents({ ...sale, ...before }, { ...sale, ...after }));
same('no change', sold({}, {}), []);
same('half', sold({}, { stock: 499 }), ['left 50']);
same('several at once', sold({}, { stock: 40 }), ['left 5']);
same('units given back', sold({ stock: 40 }, { stock: 900 }), []);
same('the last', sold({ stock: 2 }, { stock: 0, state: 'sold_out' }), ['sold_out']);
same('opened', sold({ state: 'scheduled' }, {}), ['opened']);
same('paused', sold({}, { state: 'paused' }), ['paused']);
same('resumed', sold({ state: 'paused' }, {}), ['resumed']);
same('again', sold({ state: 'sold_out' }, {}), ['on_sale_again']);
same('ended', sold({}, { state: 'closed' }), ['ended']);
same('no total', thresholdPassed(10, 0, 0), null);
same('to nothing', thresholdPassed(100, 0, 100), 0);
same('onto it', thresholdPassed(51, 50, 100), 50);
same('once', thresholdPassed(50, 49, 100), null);
const book = { gate_open: true, oversold_units: 0, drift_units: null };
const told = (before, after) => short(events.bookEvents({ ...book, ...before }, { ...book, ...after }, 'x'));
same('books', told({}, {}), []);
same('gate closed', told({}, { gate_open: false }), ['gate_closed']);
same('gate opened', told({ gate_open: false }, {}), ['gate_opened']);
same('oversold', told({}, { oversold_units: 2 }), ['oversold 2']);
same('still oversold', told({ oversold_units: 2 }, { oversold_units: 2 }), []);
same('drift', told({}, { drift_units: -3 }), ['drift -3']);
const edge = (status, leads) => new Map([['e', { name: 'e', status, leads }]]);
const seen = (before, after) => short(events.processEvents('edge', before, after));
same('new', seen(new Map(), edge('ready')), ['process.joined']);
same('gone', seen(edge('ready'), edge('silent')), ['process.gone']);
same('still gone', seen(edge('silent'), edge('silent')), []);
same('not ready', seen(edge('ready'), edge('not_ready')), ['process.not_ready']);
same('back', seen(edge('silent'), edge('ready')), ['process.back']);
same('leads', seen(edge('ready', false), edge('ready', true)), ['process.leads']);
const log = new events.EventLog();
for (let n = 0; n < 300; n += 1) log.add({ serverMs: n }, [{ kind: 'k', n }]);
same('a bounded log', [log.all().length, log.all()[0].n, log.all().at(-1).n], [100, 299, 200]);

// Processes are remembered for a minute; an edge that just began to listen knows less than we do.
const tile = (name, ageMs, ready = true) => ({ name, ready, age_ms: ageMs });
const list = (tiles) => [...tiles.values()].map(({ name, status }) => `${name} ${status}`);
const first = mergeTiles(new Map(), [tile('edge-10', 0), tile('edge-2', 0, false)], 0);
const other = mergeTiles(first, [tile('edge-10', 0)], 4000);
same('heard', list(first), ['edge-2 not_ready', 'edge-10 ready']);
same('left out', list(other), ['edge-2 silent', 'edge-10 ready']);
same('older', list(mergeTiles(other, [tile('edge-10', 30_000)], 4500)), ['edge-2 silent', 'edge-10 ready']);
same('forgotten', list(mergeTiles(other, [tile('edge-10', 0)], 61_000)), ['edge-10 ready']);

// What is unknown is never zero.
const figures = { outbox_depth: 1, outbox_oldest_ms: 5, open_units: 2, oversold_units: 0 };
const totals = (...products) => {
  const sums = totalsOf({ products }, new Map(), new Map());
  return [sums.outboxDepth, sums.outboxOldestMs, sums.openUnits, sums.oversoldUnits, sums.clients];
};
const unknown = { ...figures, open_units: null, oversold_units: null };
same('nobody leads', totals(), [null, null, null, null, null]);
same('known', totals(figures, figures), [2, 5, 4, 0, null]);
same('in part', totals(figures, unknown), [2, 5, null, null, null]);
const settlers = (status) => new Map([['s', { status }]]);
const settled = (tiles) => totalsOf({ products: [], settled_per_second: 0 }, new Map(), tiles).settledPerSecond;
same('settled', [settled(settlers('ready')), settled(settlers('silent')), settled(new Map())], [0, null, null]);
same('oversold for sure', totals({ ...figures, oversold_units: 1 }, unknown), [2, 5, null, 1, null]);

// Silence is told from a lost connection.
const fresh = new Freshness();
const views = (localMs) => {
  const { connection, stats, stock } = fresh.picture({ localMs, serverMs: localMs + 50 });
  return [connection, stats.view, stock.view];
};
same('nothing heard', views(0), ['connecting', 'waiting', 'waiting']);
same('connected', [short(fresh.connect('live', 0)), short(fresh.hear(true, 100))], [[], []]);
same('within 3 s', [views(3100), short(fresh.look(3100))], [['live', 'live', 'live'], []]);
same('after 3 s', [short(fresh.look(3101)), views(3101)], [['silent'], ['live', 'silent', 'silent']]);
same('told once', short(fresh.look(5000)), []);
same('since', fresh.picture({ localMs: 4000, serverMs: 4050 }).stats.heardMs, 150);
same('stock alone', [short(fresh.hear(false, 6000)), views(6000)], [[], ['live', 'silent', 'live']]);
same('heard again', short(fresh.hear(true, 6100)), ['heard_again 6000']);
same('lost', [short(fresh.connect('stale', 7000)), views(7000)], [['lost'], ['stale', 'silent', 'silent']]);
same('lost once', short(fresh.connect('offline', 7500)), []);
same('reconnected', short(fresh.connect('live', 9000)), ['reconnected 2000']);

// A file is safe to open, and bounded.
for (const [value, text] of [
  ['plain', 'plain'], ['a,b', '"a,b"'], ['say "x"', '"say ""x"""'], ['two\nlines', '"two\nlines"'],
  ['=1+1', "'=1+1"], ['+1', "'+1"], ['-1', "'-1"], ['@x', "'@x"], ['\t=1', "'\t=1"], [' =1', "' =1"],
  ['\uff1d1', "'\uff1d1"], [-5, '-5'], [1.5, '1.5'], [NaN, ''], [null, ''], [undefined, ''], [0, '0'],
]) same('a field', field(value), text);
const records = new Records();
for (let i = 0; i < 1000; i += 1) {
  const frame = { server_time: String(i), answers_per_second: {}, latency_ms: null };
  records.add(frame, {}, [{ product_id: 7, name: '-x', stock: i }]);
}
const lines = records.toCsv().split('\r\n');
same('15 minutes', lines.length, 902);
same('a name', lines[0].split(',').at(-1), "'-x (#7) stock");
same('a record', [lines[1], lines[900]], [`100${','.repeat(18)}100`, `999${','.repeat(18)}999`]);

// Lines have gaps, are bounded, and keep their colours.
const shares = new Shares();
for (const [ms, known] of [[1000, [[1, 100]]], [1100, [[1, 90]]], [2000, []], [3000, [[1, 80], [2, 100]]]]) {
  shares.add(ms, known);
}
const copy = shares.copy();
shares.add(4000, [[1, 70], [2, 100]]);
same('a gap', shares.columns([1, 2]), [[1, 2, 3, 4], [90, null, 80, 70], [null, null, 100, 100]]);
same('a copy stays', copy.columns([1]), [[1, 2, 3], [90, null, 80]]);
const many = new Shares();
for (let i = 0; i < 2000; i += 1) many.add(i * 1000, [1, 2, 3, 4, 5, 6].map((id) => [id, 100 - i * id / 1000]));
same('five minutes', many.columns([1])[0].length, 303);
same('the fastest and the one shown', many.choose([1, 2, 3, 4, 5, 6], 1), [1, 4, 5, 6]);
same('places', keepPlaces([null, 5, 9, null], [4, 5, 6, 7]), [4, 5, 6, 7]);

return found;
