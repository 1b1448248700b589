-- Begins or ends putting the plan together again from the rows; without an epoch the plan is not whole.
-- KEYS     meta
-- ARGV     begin or end, uuid
-- Returns  1, or 0 = STALE: another rebuild has begun since
local step, uuid = ARGV[1], ARGV[2]
if step == 'begin' then
  redis.call('HSET', META, 'rebuilding', uuid)
  redis.call('HDEL', META, 'epoch')
  return 1
end
if redis.call('HGET', META, 'rebuilding') ~= uuid then
  return 0
end
redis.call('HDEL', META, 'rebuilding')
redis.call('HSET', META, 'epoch', uuid)
return 1
