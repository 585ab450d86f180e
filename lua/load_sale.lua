#!lua
-- Purpose: give a node that remembers nothing the units of a sale before its holders are adopted.
-- KEYS: 1 sale:{P} hash
-- ARGV: 1 claimed epoch · 2 units before any holder is adopted · 3 number of the last effect
--   already contained in those units and holders
-- Returns: code
--   0 LOADED    available, seq and applied are set
--   1 OUTRUN    a later epoch was claimed
local sale = KEYS[1]
local LOADED = 0
local OUTRUN = 1

if redis.call('HGET', sale, 'claim') ~= ARGV[1] then return OUTRUN end

redis.call('HSET', sale, 'available', ARGV[2], 'applied', ARGV[3], 'seq', '0')
return LOADED
