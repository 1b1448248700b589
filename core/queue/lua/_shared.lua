-- Stands before every script: names for the keys, the one clock, and how an entry moves.
-- KEYS     ready delayed leased owner message limits count held meta wake flow parked breaker
--          The last three are prefixes: flow:<band>, parked:<flow> and breaker:<flow> are made from them
--          here and share their hash tag, so they lie in the same Cluster slot.
-- ARGV     as the script that follows says
-- Returns  nothing
local READY, DELAYED, LEASED, OWNER, MESSAGE = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local LIMITS, COUNT, HELD, META, WAKE = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local FLOW, PARKED, BREAKER = KEYS[11], KEYS[12], KEYS[13]

local BAND = 2 ^ 40
local LAST_BAND = 9
local MOVES = 200
local WAKE_TOKENS = 64

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- Set from ARGV by the scripts that ask how many of a flow may run; nil = as many as there are.
local default_max_running = nil
local tags_are_fresh = false

local function parse(member)
  local id, priority, cost, flow = string.match(member, '^(%d+):%d+:(%d+):(%d+):(.+)$')
  return id, tonumber(priority), tonumber(cost), flow
end

local function add_count(kind, flow, change)
  local field = kind .. ':' .. flow
  if redis.call('HINCRBY', COUNT, field, change) == 0 then
    redis.call('HDEL', COUNT, field)
  end
end

local function counted(kind, flow)
  return tonumber(redis.call('HGET', COUNT, kind .. ':' .. flow) or 0)
end

local function note(event, times)
  if times > 0 then
    redis.call('HINCRBY', META, event, times)
  end
end

local function wake(tokens)
  if tokens < 1 then
    return
  end
  local pushed = {}
  for i = 1, math.min(tokens, WAKE_TOKENS) do
    pushed[i] = 1
  end
  redis.call('LPUSH', WAKE, unpack(pushed))
  redis.call('LTRIM', WAKE, 0, WAKE_TOKENS - 1)
end

local function virtual_time(band)
  return tonumber(redis.call('HGET', META, 'virtual_time:' .. band) or 0)
end

-- With nothing ready and nothing parked nobody is owed anything: all tags start at zero again.
local function refresh_tags()
  if tags_are_fresh then
    return
  end
  tags_are_fresh = true
  if redis.call('EXISTS', READY) == 1 or tonumber(redis.call('HGET', META, 'parked') or 0) > 0 then
    return
  end
  for band = 0, LAST_BAND do
    redis.call('DEL', FLOW .. band)
    redis.call('HDEL', META, 'virtual_time:' .. band)
  end
end

-- The only way into ready with a new tag: self-clocked fair queueing (Golestani 1994).
local function to_ready(member)
  refresh_tags()
  local _, priority, cost, flow = parse(member)
  local last_tag = tonumber(redis.call('ZSCORE', FLOW .. priority, flow) or 0)
  local weight = tonumber(redis.call('HGET', LIMITS, 'w:' .. flow) or 1)
  local tag = math.max(virtual_time(priority), last_tag) + cost / weight
  redis.call('ZADD', FLOW .. priority, tag, flow)
  redis.call('ZADD', READY, priority * BAND + tag, member)
end

local function is_present(member, flow)
  return redis.call('ZSCORE', READY, member)
    or redis.call('ZSCORE', LEASED, member)
    or redis.call('ZSCORE', DELAYED, member)
    or redis.call('ZSCORE', PARKED .. flow, member)
end

-- Adds an entry unless it is here in any state; tells whether it did.
local function enter(member, delay_ms, message)
  local id, _, _, flow = parse(member)
  if is_present(member, flow) then
    return false
  end
  if message ~= '' then
    redis.call('HSETNX', MESSAGE, id, message)
  end
  add_count('waiting', flow, 1)
  if delay_ms > 0 then
    redis.call('ZADD', DELAYED, now + delay_ms, member)
  else
    to_ready(member)
  end
  return true
end

-- How many more of a flow may run.
local function room(flow)
  local max_running = tonumber(redis.call('HGET', LIMITS, 'r:' .. flow) or default_max_running)
  return max_running and max_running - counted('running', flow) or math.huge
end

local function park(member, flow, score)
  redis.call('ZADD', PARKED .. flow, score, member)
  redis.call('HINCRBY', META, 'parked', 1)
end

-- Brings the first parked ones of a flow back to ready with the scores they had.
local function bring_back(flow, at_most)
  local entries = redis.call('ZPOPMIN', PARKED .. flow, at_most)
  for i = 1, #entries, 2 do
    redis.call('ZADD', READY, entries[i + 1], entries[i])
  end
  redis.call('HINCRBY', META, 'parked', -#entries / 2)
  wake(#entries / 2)
end

-- Brings back as many of a flow as fit: none while it is held, one while its probe is awaited.
local function restore(flow)
  if redis.call('EXISTS', PARKED .. flow) == 0 then
    return
  end
  local until_ms = tonumber(redis.call('ZSCORE', HELD, flow) or -1)
  local fit = math.min(room(flow), MOVES)
  if until_ms >= 0 then
    fit = until_ms > now and 0 or math.min(fit, 1)
  end
  if fit > 0 then
    bring_back(flow, fit)
  end
end
