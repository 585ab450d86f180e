-- The smallest script that makes an order: one a call, and one a user, with no outbox, window, fence or
-- place in line. What reserve.lua is compared with.
-- KEYS: 1 units · 2 users with their reservation ids. ARGV: 1 user · 2 reservation id.
-- Returns: units left, -1 when there are none, or -2 when the user has an order.
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then return -2 end
if tonumber(redis.call('GET', KEYS[1])) <= 0 then return -1 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
return redis.call('DECR', KEYS[1])
