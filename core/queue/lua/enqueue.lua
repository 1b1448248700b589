-- Adds entries that are nowhere in the queue yet; whoever is here stays as it is. Batch.
-- KEYS     ready delayed leased message limits count meta wake flow parked
-- ARGV     rebuild_id or '', then (member, delay_ms, message or '')*
-- Returns  a flag for each, 1 = added; -1 alone = STALE: that rebuild is not the current one
local rebuild_id = ARGV[1]
if rebuild_id ~= '' and redis.call('HGET', META, 'rebuilding') ~= rebuild_id then
  return -1
end

local flags, added = {}, 0
for i = 2, #ARGV, 3 do
  local entered = enter(ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2])
  flags[#flags + 1] = entered and 1 or 0
  added = added + flags[#flags]
end
note('enqueued', added)
wake(added)
return flags
