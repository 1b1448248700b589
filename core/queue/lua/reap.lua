-- Gives expired leases to the reaper for a while; a dead reaper's are expired again after it.
-- KEYS     leased owner meta
-- ARGV     token of the reaper, limit, hold_ms
-- Returns  the members it now holds
local token, limit, hold_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local expired = redis.call('ZRANGEBYSCORE', LEASED, '-inf', now, 'LIMIT', 0, limit)
for _, member in ipairs(expired) do
  redis.call('HSET', OWNER, member, token)
  redis.call('ZADD', LEASED, now + hold_ms, member)
end
note('reaped', #expired)
return expired
