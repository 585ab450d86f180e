#!lua
-- Purpose: tell Redis what PostgreSQL committed: the effects that are next in line, and the stock
--   if it is newer; then publish one feed frame with the orders just settled.
-- KEYS: 1 sale:{P} hash · 2 buyers:{P} hash
-- ARGV: 1 claimed epoch while a node is being vouched for, else 0 · 2 feed channel ·
--   3 product id · 4 stock version · 5 stock · 6 settled orders, JSON [["id","status"],…] ·
--   then six an effect: n, kind, user id, quantity, id, end. Of an order (adopt, void) the id is the
--   reservation's, the end `seq` or `seq|key` as in a holder's text; of units (add, withdraw) the
--   id is the adjustment's, without user and end
-- Returns: { code, applied }; applied is 0 when CLOSED
--   0 REPORTED  effects up to `applied` are in; an effect that was not next in line is ignored
--   1 CLOSED    nothing was done: the sale is not vouched for, or a later epoch was claimed
local sale, buyers = KEYS[1], KEYS[2]
local claim, channel, product, settled = ARGV[1], ARGV[2], ARGV[3], ARGV[6]
local version, stock = tonumber(ARGV[4]), tonumber(ARGV[5])
local FIRST, STRIDE = 7, 6
local REPORTED = 0
local CLOSED = 1

local f = redis.call('HMGET', sale, 'vouch', 'claim', 'applied', 'available', 'version', 'stock',
  'rev', 'epoch', 'state', 'opens_at', 'closes_at', 'withdrawing')
if claim == '0' then
  local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
  if not f[1] or f[1] ~= replid then return { CLOSED, 0 } end
elseif f[2] ~= claim then
  return { CLOSED, 0 }
end

local applied, available, mark = tonumber(f[3]), tonumber(f[4]), f[12]
for i = FIRST, #ARGV, STRIDE do
  if tonumber(ARGV[i]) == applied + 1 then
    local kind, user, quantity, id = ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3]), ARGV[i + 4]
    local is_order = kind == 'void' or kind == 'adopt'
    local holder = is_order and redis.call('HGET', buyers, user)
    if kind == 'void' and holder and string.sub(holder, 1, #id) == id then
      redis.call('HDEL', buyers, user)
      available = available + quantity
    elseif kind == 'adopt' and not holder then
      redis.call('HSET', buyers, user, id .. '|' .. ARGV[i + 3] .. '|' .. ARGV[i + 5])
      available = available - quantity
    elseif kind == 'add' then available = available + quantity
    elseif kind == 'withdraw' and mark and string.sub(mark, 1, #id) == id then
      -- Its units were taken when they were marked.
      redis.call('HDEL', sale, 'withdrawing')
      mark = false
    elseif kind == 'withdraw' then available = available - quantity
    end
    applied = applied + 1
  end
end
local fields = { 'applied', string.format('%d', applied),
  'available', string.format('%d', available) }
if claim ~= '0' then
  redis.call('HSET', sale, unpack(fields))
  return { REPORTED, applied }
end

if version > tonumber(f[5]) then
  fields[#fields + 1], fields[#fields + 2] = 'version', ARGV[4]
  fields[#fields + 1], fields[#fields + 2] = 'stock', ARGV[5]
else
  stock = tonumber(f[6])
end
local rev = tonumber(f[7]) + 1
fields[#fields + 1], fields[#fields + 2] = 'rev', string.format('%d', rev)
redis.call('HSET', sale, unpack(fields))
redis.call('PUBLISH', channel, string.format('{"product_id":%s,"stock":%d,"available":%d,' ..
  '"state":"%s","opens_at":%s,"closes_at":%s,"epoch":%s,"rev":%d,"orders":',
  product, stock, available, f[9], f[10], f[11], f[8], rev) .. settled .. '}')
return { REPORTED, applied }
