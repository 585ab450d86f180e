#!lua
-- Purpose: reserve units for a batch of requests of one product, in one atomic step:
--   fence, deadline, window, limit, dedupe, stock, arrival number, outbox entry.
--   The edge proposes a candidate id a request; only this script decides which id stands.
-- KEYS: 1 sale:{P} hash · 2 buyers:{P} hash · 3 outbox:{P} stream
-- ARGV: 1 deadline, ms of Redis time · 2 outbox bound, entries ·
--   then three a request: user id, quantity (>= 1, checked by the edge), candidate id,
--   and `|key` behind it when the buyer sent an idempotency key (16 hex digits)
-- Returns: { batch code, Redis time in ms } and, when DECIDED, further
--   { epoch, rev, available after, outbox entry id or "" } and two a request:
--   request code, holder `id|quantity|seq`, `|key` if it has one, or "".
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
local deadline_ms, outbox_bound = tonumber(ARGV[1]), tonumber(ARGV[2])
local FIRST, STRIDE, ID_CHARS = 3, 3, 36
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
local f = redis.call('HMGET', sale, 'vouch', 'epoch', 'seq', 'rev', 'available', 'limit',
  'opens_at', 'closes_at', 'state')
local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
if not f[1] or f[1] ~= replid then return { CLOSED, now_ms } end
if now_ms > deadline_ms then return { STALE, now_ms } end
local seq, available, limit = tonumber(f[3]), tonumber(f[5]), tonumber(f[6])
local opens_at, closes_at, state = tonumber(f[7]), tonumber(f[8]), f[9]

-- What refuses a new reservation whatever the stock; nil while the sale sells.
local refusal
if state == 'closed' or (closes_at > 0 and now_ms >= closes_at) then refusal = ENDED
elseif state == 'paused' then refusal = PAUSED
elseif now_ms < opens_at then refusal = NOT_STARTED
elseif redis.call('XLEN', outbox) >= outbox_bound then refusal = OVERLOADED end

local users = {}
for i = FIRST, #ARGV, STRIDE do users[#users + 1] = ARGV[i] end
local holders = redis.call('HMGET', buyers, unpack(users))
local reply = { DECIDED, now_ms, tonumber(f[2]), tonumber(f[4]), 0, '' }
local new_buyers, entries, new_holder = {}, {}, {}
for n, user in ipairs(users) do
  local at = FIRST + (n - 1) * STRIDE
  local quantity, id, key = tonumber(ARGV[at + 1]), ARGV[at + 2], ''
  if #id > ID_CHARS then id, key = string.sub(id, 1, ID_CHARS), string.sub(id, ID_CHARS + 1) end
  local holder, code = holders[n] or new_holder[user] or '', nil
  if holder ~= '' then
    if string.sub(holder, 1, ID_CHARS) == id then code = RETRIED
    elseif key ~= '' and string.sub(holder, -#key) == key then code = REPLAYED
    else code = ALREADY_PURCHASED end
  elseif refusal then code = refusal
  elseif quantity > limit then code = OVER_LIMIT
  elseif available <= 0 then code = SOLD_OUT
  elseif quantity > available then code = NOT_ENOUGH
  else
    code, seq, available = ACCEPTED, seq + 1, available - quantity
    holder = string.format('%s|%d|%d', id, quantity, seq) .. key
    new_holder[user] = holder
    new_buyers[#new_buyers + 1], new_buyers[#new_buyers + 2] = user, holder
    entries[#entries + 1] = string.format('%s|%s|%d|%d', id, user, quantity, seq) .. key
  end
  reply[#reply + 1], reply[#reply + 2] = code, holder
end
reply[5] = available

-- Everything is checked: only writes from here, as an error would leave the earlier ones.
if #entries > 0 then
  redis.call('HSET', sale, 'seq', string.format('%d', seq),
    'available', string.format('%d', available))
  redis.call('HSET', buyers, unpack(new_buyers))
  reply[6] = redis.call('XADD', outbox, '*', 'epoch', f[2],
    'at', string.format('%d', now_ms), 'orders', table.concat(entries, ';'))
end
return reply
