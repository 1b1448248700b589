-- Writes weight and max_running of flows, holds or frees them, and brings back what now fits. Batch.
-- KEYS     ready limits count held meta wake parked
-- ARGV     default_max_running or '', then (flow, weight, max_running or '', hold_ms or '')*
--          max_running '' = the default; hold_ms '' = leave the hold as it is, 0 = free the flow
-- Returns  how many flows were written
default_max_running = tonumber(ARGV[1])

local function hold(flow, hold_ms)
  if hold_ms == 0 then
    redis.call('ZREM', HELD, flow)
  else
    redis.call('ZADD', HELD, now + hold_ms, flow)
    -- Somebody has to learn when the hold ends.
    wake(1)
  end
end

for i = 2, #ARGV, 4 do
  local flow, weight, max_running, hold_ms = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2], tonumber(ARGV[i + 3])
  if weight == 1 then
    redis.call('HDEL', LIMITS, 'w:' .. flow)
  else
    redis.call('HSET', LIMITS, 'w:' .. flow, weight)
  end
  if max_running == '' then
    redis.call('HDEL', LIMITS, 'r:' .. flow)
  else
    redis.call('HSET', LIMITS, 'r:' .. flow, max_running)
  end
  if hold_ms then
    hold(flow, hold_ms)
  end
  restore(flow)
end
return (#ARGV - 1) / 4
