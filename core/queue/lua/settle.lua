-- Ends leases of those who hold them: ack is the end, retry and release put the next member in.
-- KEYS     ready delayed leased owner message limits count held meta wake flow parked
-- ARGV     default_max_running or '', then (member, token, outcome, next_member or '', delay_ms, message or '')*
-- Returns  a flag for each, 0 = NOT YOURS
default_max_running = tonumber(ARGV[1])
local RATE_WINDOW_MS = 5000
local RATE_FORGET_MS = 300000

local function end_lease(member, flow)
  redis.call('HDEL', OWNER, member)
  redis.call('ZREM', LEASED, member)
  add_count('running', flow, -1)
  restore(flow)
end

local function smooth(field, fresh)
  local before = tonumber(redis.call('HGET', META, field) or fresh)
  redis.call('HSET', META, field, (before + fresh) / 2)
end

-- Counts what was served; each window of some seconds gives a rate, halved into the last one.
local function serve(ended, cost)
  redis.call('HINCRBY', META, 'served_cost', cost)
  local since_ms = tonumber(redis.call('HGET', META, 'rate_since_ms') or 0)
  local window_ms = now - since_ms
  if window_ms > RATE_FORGET_MS or window_ms < 0 then
    redis.call('HSET', META, 'rate_since_ms', now, 'rate_ended', 0, 'rate_cost', 0)
    return
  end
  local all_ended = redis.call('HINCRBY', META, 'rate_ended', ended)
  local all_cost = redis.call('HINCRBY', META, 'rate_cost', cost)
  if window_ms >= RATE_WINDOW_MS then
    smooth('ended_per_second', all_ended * 1000 / window_ms)
    smooth('cost_per_second', all_cost * 1000 / window_ms)
    redis.call('HSET', META, 'rate_since_ms', now, 'rate_ended', 0, 'rate_cost', 0)
  end
end

local flags, outcomes, cost_served, entered = {}, {ack = 0, retry = 0, release = 0}, 0, 0
for i = 2, #ARGV, 6 do
  local member, token, outcome = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local id, _, cost, flow = parse(member)
  if redis.call('HGET', OWNER, member) ~= token then
    flags[#flags + 1] = 0
  else
    end_lease(member, flow)
    outcomes[outcome] = outcomes[outcome] + 1
    if outcome == 'ack' then
      redis.call('HDEL', MESSAGE, id)
      cost_served = cost_served + cost
    elseif enter(ARGV[i + 3], tonumber(ARGV[i + 4]), ARGV[i + 5]) then
      entered = entered + 1
    end
    flags[#flags + 1] = 1
  end
end
if outcomes.ack > 0 then
  serve(outcomes.ack, cost_served)
end
note('acked', outcomes.ack)
note('retried', outcomes.retry)
note('released', outcomes.release)
wake(entered)
return flags
