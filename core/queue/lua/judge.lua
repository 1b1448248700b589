-- Counts failures in a row of a flow over all processes: too many hold it, a success frees it.
-- KEYS     ready limits count held meta wake parked breaker
-- ARGV     default_max_running or '', flow, 1 = succeeded or 0 = failed, failures that hold it,
--          first_hold_ms, longest_hold_ms, forget_ms
-- Returns  hold_ms of a hold that begins now, or 0; 1 when a flow that had been held is free again, or 0
default_max_running = tonumber(ARGV[1])
local flow, succeeded, failures = ARGV[2], ARGV[3] == '1', tonumber(ARGV[4])
local first_hold_ms, longest_hold_ms, forget_ms = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local breaker = BREAKER .. flow

local function free()
  local had_been_held = redis.call('HEXISTS', breaker, 'holds')
  redis.call('DEL', breaker)
  if redis.call('ZREM', HELD, flow) == 1 then
    restore(flow)
  end
  return had_been_held
end

-- What was under way when the hold began says nothing new: only a later failure doubles it.
local function count_failure()
  local in_a_row = redis.call('HINCRBY', breaker, 'in_a_row', 1)
  redis.call('PEXPIRE', breaker, forget_ms)
  if in_a_row < failures or now < tonumber(redis.call('HGET', breaker, 'until_ms') or 0) then
    return 0
  end
  local holds = redis.call('HINCRBY', breaker, 'holds', 1)
  local hold_ms = math.min(longest_hold_ms, first_hold_ms * 2 ^ math.min(holds - 1, 20))
  redis.call('HSET', breaker, 'until_ms', now + hold_ms)
  redis.call('ZADD', HELD, now + hold_ms, flow)
  -- Somebody has to learn when the hold ends.
  wake(1)
  return hold_ms
end

if succeeded then
  return {0, free()}
end
return {count_failure(), 0}
