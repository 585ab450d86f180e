#!lua
-- Purpose: give back the units an adjustment had marked before PostgreSQL refused it for good.
-- KEYS: 1 sale:{P} hash
-- ARGV: 1 feed channel · 2 product id · 3 adjustment id
-- Returns: code
--   0 RELEASED  the units can be reserved again
--   1 ABSENT    no mark of this adjustment stands
--   2 CLOSED    nothing was done: the sale is not vouched for, and vouching drops the mark
local sale = KEYS[1]
local channel, product, id = ARGV[1], ARGV[2], ARGV[3]
local RELEASED = 0
local ABSENT = 1
local CLOSED = 2

local f = redis.call('HMGET', sale, 'vouch', 'withdrawing', 'available', 'rev', 'stock', 'state',
  'opens_at', 'closes_at', 'epoch')
local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
if not f[1] or f[1] ~= replid then return CLOSED end
local units = f[2] and string.match(f[2], '^' .. string.gsub(id, '%-', '%%-') .. '|(%d+)$')
if not units then return ABSENT end

local available, rev = tonumber(f[3]) + tonumber(units), tonumber(f[4]) + 1
redis.call('HDEL', sale, 'withdrawing')
redis.call('HSET', sale, 'available', string.format('%d', available),
  'rev', string.format('%d', rev))
redis.call('PUBLISH', channel, string.format('{"product_id":%s,"stock":%s,"available":%d,' ..
  '"state":"%s","opens_at":%s,"closes_at":%s,"epoch":%s,"rev":%d,"orders":[]}',
  product, f[5], available, f[6], f[7], f[8], f[9], rev))
return RELEASED
