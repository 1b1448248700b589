-- Brings forward what is due or leased for longer than its row says; never puts anything off. Batch.
-- KEYS     delayed leased wake
-- ARGV     (member, at_most_ms, then_ms)*: later than at_most_ms from now becomes then_ms from now
-- Returns  a flag for each, 1 = it was later than that
local flags, hastened = {}, 0
for i = 1, #ARGV, 3 do
  local member, latest_ms, then_ms = ARGV[i], now + tonumber(ARGV[i + 1]), now + tonumber(ARGV[i + 2])
  flags[#flags + 1] = 0
  local due_ms = tonumber(redis.call('ZSCORE', DELAYED, member) or -1)
  local expires_at_ms = tonumber(redis.call('ZSCORE', LEASED, member) or -1)
  if due_ms > latest_ms then
    redis.call('ZADD', DELAYED, then_ms, member)
    flags[#flags], hastened = 1, hastened + 1
  elseif expires_at_ms > latest_ms then
    redis.call('ZADD', LEASED, then_ms, member)
    flags[#flags] = 1
  end
end
-- Whoever sleeps until the first one is due learns that it is due earlier.
wake(hastened)
return flags
