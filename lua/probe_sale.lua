#!lua flags=no-writes
-- Purpose: say in one step whether a sale is sold out and whether that can have changed: no unit is
--   reserved or returned, and no buyer comes or goes, without a change of epoch, seq or applied.
-- KEYS: 1 sale:{P} hash
-- ARGV: none
-- Returns: { code, Redis time in ms, epoch, seq, applied, limit, closes_at in ms or 0 }; the last
--   five are 0 unless SOLD_OUT
--   0 SOLD_OUT  open by state and window, and nothing is available
--   1 SELLING   units are available, or the sale is refused for another reason than stock
--   2 CLOSED    nobody vouches for this node
local sale = KEYS[1]
local SOLD_OUT = 0
local SELLING = 1
local CLOSED = 2

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local f = redis.call('HMGET', sale, 'vouch', 'available', 'state', 'opens_at', 'closes_at',
  'epoch', 'seq', 'applied', 'limit')
local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
if not f[1] or f[1] ~= replid then return { CLOSED, now_ms, 0, 0, 0, 0, 0 } end
local closes_at = tonumber(f[5])
if tonumber(f[2]) > 0 or f[3] ~= 'open' or now_ms < tonumber(f[4])
  or (closes_at > 0 and now_ms >= closes_at) then
  return { SELLING, now_ms, 0, 0, 0, 0, 0 }
end
return { SOLD_OUT, now_ms, tonumber(f[6]), tonumber(f[7]), tonumber(f[8]), tonumber(f[9]),
  closes_at }
