#!lua
-- Purpose: claim the right to vouch for this node under a new epoch, and close the sale meanwhile.
--   Says what this node remembers, so that the gatekeeper knows what it may have lost.
-- KEYS: 1 sale:{P} hash · 2 buyers:{P} hash
-- ARGV: 1 epoch to claim
-- Returns: { code, epoch, seq, applied }; the last three are 0 unless CLAIMED
--   0 CLAIMED   this node remembers a sale
--   1 OUTRUN    this or a later epoch is claimed already
--   2 MISSING   claimed; no sale was ever opened here, so everything must be loaded
local sale, buyers = KEYS[1], KEYS[2]
local epoch = tonumber(ARGV[1])
local CLAIMED = 0
local OUTRUN = 1
local MISSING = 2

local f = redis.call('HMGET', sale, 'claim', 'epoch', 'seq', 'applied')
if (tonumber(f[1]) or 0) >= epoch then return { OUTRUN, 0, 0, 0 } end

redis.call('HSET', sale, 'claim', ARGV[1])
redis.call('HDEL', sale, 'vouch')
if not f[2] then
  -- Buyers without an opened sale are what a gatekeeper that died had adopted.
  redis.call('DEL', buyers)
  return { MISSING, 0, 0, 0 }
end
return { CLAIMED, tonumber(f[2]), tonumber(f[3]), tonumber(f[4]) }
