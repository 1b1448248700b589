-- Takes out entries that wait; a leased one stays with its owner. Batch.
-- KEYS     ready delayed leased message limits count held meta wake parked
-- ARGV     default_max_running or '', then member*
-- Returns  for each 0 = absent, 1 = was waiting, 2 = is leased
default_max_running = tonumber(ARGV[1])

local function take_out(member, flow)
  if redis.call('ZREM', READY, member) == 1 or redis.call('ZREM', DELAYED, member) == 1 then
    return true
  end
  if redis.call('ZREM', PARKED .. flow, member) == 1 then
    redis.call('HINCRBY', META, 'parked', -1)
    return true
  end
  return false
end

local outcomes, cancelled = {}, 0
for i = 2, #ARGV do
  local member = ARGV[i]
  local id, _, _, flow = parse(member)
  if take_out(member, flow) then
    redis.call('HDEL', MESSAGE, id)
    add_count('waiting', flow, -1)
    -- It may have been the one brought back for a free place; the next parked one takes it.
    restore(flow)
    cancelled = cancelled + 1
    outcomes[#outcomes + 1] = 1
  else
    outcomes[#outcomes + 1] = redis.call('ZSCORE', LEASED, member) and 2 or 0
  end
end
note('cancelled', cancelled)
return outcomes
