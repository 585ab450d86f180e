#!lua
-- Purpose: take free units out of an open sale and mark them, before PostgreSQL takes them out of
--   the stock: from now on nobody can reserve them. The effect `withdraw` clears the mark.
-- KEYS: 1 sale:{P} hash
-- ARGV: 1 feed channel · 2 product id · 3 adjustment id · 4 units · 5 number of the last effect
--   there was when the caller saw that the adjustment is not decided yet
-- Returns: { code, epoch, available }; the last two are 0 when CLOSED
--   0 MARKED     the units are out of `available`, now or since an earlier call
--   1 CLOSED     nothing was done: the sale is not vouched for
--   2 NOT_ENOUGH nothing was done: fewer units are free
--   3 BUSY       nothing was done: the mark of another adjustment stands
--   4 STALE      nothing was done: an effect came since, which may be this adjustment's own
local sale = KEYS[1]
local channel, product, id, units = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local seen = tonumber(ARGV[5])
local MARKED = 0
local CLOSED = 1
local NOT_ENOUGH = 2
local BUSY = 3
local STALE = 4

local f = redis.call('HMGET', sale, 'vouch', 'epoch', 'available', 'applied', 'withdrawing', 'rev',
  'stock', 'state', 'opens_at', 'closes_at')
local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
if not f[1] or f[1] ~= replid then return { CLOSED, 0, 0 } end
local epoch, available = tonumber(f[2]), tonumber(f[3])
-- Marked again after its effect was applied, the units would be lost: nothing would clear the mark.
if tonumber(f[4]) > seen then return { STALE, epoch, available } end
if f[5] then
  local own = string.sub(f[5], 1, #id) == id
  return { own and MARKED or BUSY, epoch, available }
end
if available < units then return { NOT_ENOUGH, epoch, math.max(available, 0) } end

available = available - units
local rev = tonumber(f[6]) + 1
redis.call('HSET', sale, 'available', string.format('%d', available),
  'withdrawing', id .. '|' .. ARGV[4], 'rev', string.format('%d', rev))
redis.call('PUBLISH', channel, string.format('{"product_id":%s,"stock":%s,"available":%d,' ..
  '"state":"%s","opens_at":%s,"closes_at":%s,"epoch":%s,"rev":%d,"orders":[]}',
  product, f[7], available, f[8], f[9], f[10], f[2], rev))
return { MARKED, epoch, available }
