-- Prolongs leases of those who hold them. Batch.
-- KEYS     leased owner
-- ARGV     lease_ms, then (member, token)*
-- Returns  a flag for each, 0 = NOT YOURS
local expires_at_ms = now + tonumber(ARGV[1])
local flags = {}
for i = 2, #ARGV, 2 do
  local member, token = ARGV[i], ARGV[i + 1]
  if redis.call('HGET', OWNER, member) == token then
    redis.call('ZADD', LEASED, expires_at_ms, member)
    flags[#flags + 1] = 1
  else
    flags[#flags + 1] = 0
  end
end
return flags
