#!lua
-- Purpose: give an open sale what an operator changed: absolute values under a version, so that the
--   newest stays whoever comes last; then publish a frame, so that every edge shows it at once.
-- KEYS: 1 sale:{P} hash
-- ARGV: 1 feed channel · 2 product id · 3 sale version · 4 total · 5 limit · 6 opens_at, ms or 0 ·
--   7 closes_at, ms or 0 · 8 stored state
-- Returns: code
--   0 UPDATED   written; a frame of the next revision is published
--   1 CURRENT   this version or a newer one is known
--   2 CLOSED    nothing was done: the sale is not vouched for
local sale = KEYS[1]
local channel, product, version, total, limit = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local opens_at, closes_at, state = ARGV[6], ARGV[7], ARGV[8]
local UPDATED = 0
local CURRENT = 1
local CLOSED = 2

local f = redis.call('HMGET', sale, 'vouch', 'sale_version', 'rev', 'stock', 'available', 'epoch')
local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
if not f[1] or f[1] ~= replid then return CLOSED end
-- A node an older settler opened has no version.
if tonumber(version) <= tonumber(f[2] or -1) then return CURRENT end

local rev = tonumber(f[3]) + 1
redis.call('HSET', sale, 'sale_version', version, 'total', total, 'limit', limit,
  'opens_at', opens_at, 'closes_at', closes_at, 'state', state,
  'rev', string.format('%d', rev))
redis.call('PUBLISH', channel, string.format('{"product_id":%s,"stock":%s,"available":%s,' ..
  '"state":"%s","opens_at":%s,"closes_at":%s,"epoch":%s,"rev":%d,"orders":[]}',
  product, f[4], f[5], state, opens_at, closes_at, f[6], rev))
return UPDATED
