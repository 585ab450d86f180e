#!lua flags=no-writes
-- Purpose: say where a sale stands in one step, so that it can be compared with PostgreSQL.
-- KEYS: 1 sale:{P} hash · 2 outbox:{P} stream
-- ARGV: none
-- Returns: { code, available, epoch, seq, applied, outbox entries, units marked by an adjustment,
--   sale version }; zeros when MISSING
--   0 OPEN      vouched for: the numbers can be compared
--   1 CLOSED    nobody vouches for this node
--   2 MISSING   there is no such sale here
local sale, outbox = KEYS[1], KEYS[2]
local OPEN = 0
local CLOSED = 1
local MISSING = 2

local f = redis.call('HMGET', sale, 'vouch', 'available', 'epoch', 'seq', 'applied',
  'withdrawing', 'sale_version')
if not f[3] then return { MISSING, 0, 0, 0, 0, 0, 0, 0 } end
local numbers = { tonumber(f[2]), tonumber(f[3]), tonumber(f[4]), tonumber(f[5]),
  redis.call('XLEN', outbox), tonumber(string.match(f[6] or '|0', '|(%d+)$')),
  tonumber(f[7] or -1) }
local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
if f[1] ~= replid then return { CLOSED, unpack(numbers) } end
return { OPEN, unpack(numbers) }
