#!lua
-- Purpose: vouch for this node: the sale may sell here until the node restarts or is promoted.
-- KEYS: 1 sale:{P} hash
-- ARGV: 1 claimed epoch · 2 master_replid the gatekeeper read before it claimed · 3 feed channel ·
--   4 product id · 5 stock version · 6 stock · 7 total · 8 limit · 9 opens_at, ms or 0 ·
--   10 closes_at, ms or 0 · 11 stored state · 12 highest seq the gatekeeper adopted ·
--   13 sale version · 14 adjustment whose mark must go, as it is decided without it, or ""
-- Returns: code
--   0 OPENED    vouched for; a frame of the new epoch is published
--   1 OUTRUN    a later epoch was claimed
--   2 RESTARTED the node is another one since, and may have lost what it was told: nothing is
--     recorded, as an epoch and a seq would say that it remembers all holders up to them
local sale = KEYS[1]
local epoch, replid, channel, product = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local version, stock, total, limit = ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local opens_at, closes_at, state, adopted_seq = ARGV[9], ARGV[10], ARGV[11], ARGV[12]
local sale_version, gone = ARGV[13], ARGV[14]
local OPENED = 0
local OUTRUN = 1
local RESTARTED = 2

local f = redis.call('HMGET', sale, 'claim', 'seq', 'available', 'withdrawing')
if f[1] ~= epoch then return OUTRUN end
local own = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
if own ~= replid or not f[2] then return RESTARTED end
local seq = math.max(tonumber(f[2]), tonumber(adopted_seq))
local available = tonumber(f[3])

if gone ~= '' and f[4] and string.sub(f[4], 1, #gone) == gone then
  available = available + tonumber(string.match(f[4], '|(%d+)$'))
  redis.call('HDEL', sale, 'withdrawing')
end
redis.call('HSET', sale, 'epoch', epoch, 'vouch', replid, 'rev', '0', 'version', version,
  'stock', stock, 'total', total, 'limit', limit, 'opens_at', opens_at, 'closes_at', closes_at,
  'state', state, 'seq', string.format('%d', seq), 'sale_version', sale_version,
  'available', string.format('%d', available))
redis.call('PUBLISH', channel, string.format('{"product_id":%s,"stock":%s,"available":%d,' ..
  '"state":"%s","opens_at":%s,"closes_at":%s,"epoch":%s,"rev":0,"orders":[]}',
  product, stock, available, state, opens_at, closes_at, epoch))
return OPENED
