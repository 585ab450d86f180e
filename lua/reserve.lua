#!lua
-- Purpose: reserve units for a batch of requests of one product, in one atomic step:
--   fence, deadline, window, limit, dedupe, stock, arrival number, outbox entry.
--   The edge proposes a candidate id a request; only this script decides which id stands.
-- KEYS: 1 sale:{P} hash · 2 buyers:{P} hash · 3 outbox:{P} stream
-- ARGV: 1 deadline, ms of Redis time · 2 outbox bound, entries · 3 requests · then the user id of
--   each, the candidate id of each, with `|key` behind it when the buyer sent an idempotency key (16
--   hex digits), and the quantity of each (>= 1, checked by the edge), or none when all are 1
-- Returns: { batch code, Redis time in ms } and, when DECIDED, further { epoch, seq before, available
--   after, outbox entry id or "", codes: a byte a request } and, of each request that is RETRIED,
--   ALREADY_PURCHASED or REPLAYED, the holder that stands: `id|quantity|seq`, `|key` behind it if it
--   has one. The n-th that is ACCEPTED holds its own candidate id, at seq before + n.
-- batch code
--   0 DECIDED           every request has its own code
--   1 CLOSED            this node is not vouched for, or the sale is not loaded
--   2 STALE             the call ran after its deadline
-- request code
--   0 ACCEPTED          reserved now
--   1 RETRIED           this candidate was reserved by an earlier try
--   2 ALREADY_PURCHASED the user has a reservation
--   3 SOLD_OUT          nothing is available
--   4 NOT_ENOUGH        less than asked is available
--   5 NOT_STARTED       before opens_at
--   6 PAUSED            paused by an operator
--   7 ENDED             from closes_at on, or closed by an operator
--   8 OVER_LIMIT        more than one order of this sale may have
--   9 OVERLOADED        the outbox is at its bound
--   10 REPLAYED         the user has a reservation, made under this key; the quantity may differ
local sale, buyers, outbox = KEYS[1], KEYS[2], KEYS[3]
local deadline_ms, outbox_bound, requests = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local ID_CHARS = 36
local USERS, IDS, QUANTITIES = 3, 3 + requests, 3 + 2 * requests -- what lies before each list
local DECIDED = 0
local CLOSED = 1
local STALE = 2
local ACCEPTED = 0
local RETRIED = 1
local ALREADY_PURCHASED = 2
local SOLD_OUT = 3
local NOT_ENOUGH = 4
local NOT_STARTED = 5
local PAUSED = 6
local ENDED = 7
local OVER_LIMIT = 8
local OVERLOADED = 9
local REPLAYED = 10

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local f = redis.call('HMGET', sale, 'vouch', 'epoch', 'seq', 'available', 'limit', 'opens_at',
  'closes_at', 'state')
local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
if not f[1] or f[1] ~= replid then return { CLOSED, now_ms } end
if now_ms > deadline_ms then return { STALE, now_ms } end
local before, available, limit = tonumber(f[3]), tonumber(f[4]), tonumber(f[5])
local opens_at, closes_at, state = tonumber(f[6]), tonumber(f[7]), f[8]

local refusal -- of every new reservation, whatever the stock
if state == 'closed' or (closes_at > 0 and now_ms >= closes_at) then refusal = ENDED
elseif state == 'paused' then refusal = PAUSED
elseif now_ms < opens_at then refusal = NOT_STARTED
elseif redis.call('XLEN', outbox) >= outbox_bound then refusal = OVERLOADED end

local format, sub = string.format, string.sub
local holders = redis.call('HMGET', buyers, unpack(ARGV, USERS + 1, IDS))
-- New users and holders in turn, and by user, so that a user's second request finds the first.
local seq, codes, old, reserved, new = before, {}, {}, {}, {}
for n = 1, requests do
  local user, candidate = ARGV[USERS + n], ARGV[IDS + n]
  local id, key = sub(candidate, 1, ID_CHARS), sub(candidate, ID_CHARS + 1)
  local quantity = tonumber(ARGV[QUANTITIES + n] or 1)
  local holder, code = holders[n] or new[user], nil
  if holder then
    if sub(holder, 1, ID_CHARS) == id then code = RETRIED
    elseif key ~= '' and sub(holder, -#key) == key then code = REPLAYED
    else code = ALREADY_PURCHASED end
    old[#old + 1] = holder
  elseif refusal then code = refusal
  elseif quantity > limit then code = OVER_LIMIT
  elseif available <= 0 then code = SOLD_OUT
  elseif quantity > available then code = NOT_ENOUGH
  else
    code, seq, available = ACCEPTED, seq + 1, available - quantity
    holder = format('%s|%d|%d%s', id, quantity, seq, key)
    new[user] = holder
    reserved[#reserved + 1], reserved[#reserved + 2] = user, holder
  end
  codes[n] = code
end

-- Everything is checked: only writes from here, as an error would leave the earlier ones.
local entry = ''
if seq > before then
  redis.call('HSET', sale, 'seq', format('%d', seq), 'available', format('%d', available))
  redis.call('HSET', buyers, unpack(reserved))
  entry = redis.call('XADD', outbox, '*', 'epoch', f[2], 'at', format('%d', now_ms),
    'orders', table.concat(reserved, ';'))
end
return { DECIDED, now_ms, tonumber(f[2]), before, available, entry, string.char(unpack(codes)),
  unpack(old) }
