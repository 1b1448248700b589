-- Begins or ends putting the plan together again from the rows; without an epoch the plan is not whole.
-- KEYS     meta
-- ARGV     begin or end, uuid, run_id of the server it is put together on
-- Returns  1, or 0 = STALE: another rebuild has begun since
local step, uuid, run_id = ARGV[1], ARGV[2], ARGV[3]
if step == 'begin' then
  redis.call('HSET', META, 'rebuilding', uuid)
  redis.call('HDEL', META, 'epoch')
  return 1
end
if redis.call('HGET', META, 'rebuilding') ~= uuid then
  return 0
end
redis.call('HDEL', META, 'rebuilding')
redis.call('HSET', META, 'epoch', uuid, 'rebuilt_on', run_id)
return 1
