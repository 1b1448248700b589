-- Tells where entries stand. Read-only, batch.
-- KEYS     ready delayed leased meta parked
-- ARGV     member*
-- Returns  ended_per_second or '', then (state, rank) for each: state is '' where it is absent,
--          rank is 1 for the next in service order and 0 where there is none
local function place(member)
  local _, _, _, flow = parse(member)
  local rank = redis.call('ZRANK', READY, member)
  if rank then
    return 'ready', rank + 1
  elseif redis.call('ZSCORE', DELAYED, member) then
    return 'delayed', 0
  elseif redis.call('ZSCORE', LEASED, member) then
    return 'leased', 0
  elseif redis.call('ZSCORE', PARKED .. flow, member) then
    return 'parked', 0
  end
  return '', 0
end

local reply = {redis.call('HGET', META, 'ended_per_second') or ''}
for i = 1, #ARGV do
  reply[#reply + 1], reply[#reply + 2] = place(ARGV[i])
end
return reply
