#!lua
-- Purpose: make a node that remembers a sale from before its reset forget it, while it is vouched
--   for anew; then it is loaded like one that remembers nothing.
-- KEYS: 1 sale:{P} hash · 2 buyers:{P} hash
-- ARGV: 1 claimed epoch
-- Returns: code
--   0 FORGOTTEN the claim is all that is left
--   1 OUTRUN    a later epoch was claimed
local sale, buyers = KEYS[1], KEYS[2]
local FORGOTTEN = 0
local OUTRUN = 1

if redis.call('HGET', sale, 'claim') ~= ARGV[1] then return OUTRUN end

redis.call('DEL', sale)
redis.call('HSET', sale, 'claim', ARGV[1])
redis.call('DEL', buyers)
return FORGOTTEN
