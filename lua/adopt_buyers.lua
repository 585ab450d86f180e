#!lua
-- Purpose: tell a node that is being vouched for about orders it may have lost. Only absent users
--   are adopted: adopting never displaces a reservation this node made itself.
-- KEYS: 1 sale:{P} hash · 2 buyers:{P} hash
-- ARGV: 1 claimed epoch · then three a holder: user id, quantity, holder
-- Returns: { code, users adopted }
--   0 ADOPTED   every absent user of this chunk is known now
--   1 OUTRUN    a later epoch was claimed, or the node forgot the units it was given
local sale, buyers = KEYS[1], KEYS[2]
local FIRST, STRIDE = 2, 3
local ADOPTED = 0
local OUTRUN = 1

local f = redis.call('HMGET', sale, 'claim', 'available')
if f[1] ~= ARGV[1] or not f[2] then return { OUTRUN, 0 } end
local users = {}
for i = FIRST, #ARGV, STRIDE do users[#users + 1] = ARGV[i] end
local present = redis.call('HMGET', buyers, unpack(users))
local available, adopted = tonumber(f[2]), {}
for n, user in ipairs(users) do
  if not present[n] then
    local at = FIRST + (n - 1) * STRIDE
    available = available - tonumber(ARGV[at + 1])
    adopted[#adopted + 1], adopted[#adopted + 2] = user, ARGV[at + 2]
  end
end

if #adopted > 0 then
  redis.call('HSET', buyers, unpack(adopted))
  redis.call('HSET', sale, 'available', string.format('%d', available))
end
return { ADOPTED, #adopted / 2 }
