-- A bare counter: one unit a call, to nobody it remembers. Shown beside reserve_one.lua.
-- KEYS: 1 units. Returns: units left, or -1 when there are none.
if tonumber(redis.call('GET', KEYS[1])) > 0 then return redis.call('DECR', KEYS[1]) end
return -1
