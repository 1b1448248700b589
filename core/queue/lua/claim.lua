-- Promotes what is due, then takes the n first: pops and takes the lock in one step.
-- KEYS     ready delayed leased owner message limits count held meta wake flow parked
-- ARGV     token, lease_ms, n, promote_limit, default_max_running or '', aging_ms, id_epoch_ms
-- Returns  now_ms, epoch or '', beat, paused, next_due_ms or -1, {(member, message or '')*}
local token, lease_ms, n = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local aging_ms, id_epoch_ms = tonumber(ARGV[6]), tonumber(ARGV[7])
default_max_running = tonumber(ARGV[5])

local function promote(limit)
  local due = redis.call('ZRANGEBYSCORE', DELAYED, '-inf', now, 'LIMIT', 0, limit)
  for _, member in ipairs(due) do
    redis.call('ZREM', DELAYED, member)
    to_ready(member)
  end
  note('promoted', #due)
end

-- A hold that is over lets one entry pass, the probe. Score 0 = the probe is in ready or awaited.
local function release_probes()
  local over = redis.call('ZRANGEBYSCORE', HELD, 1, now, 'LIMIT', 0, MOVES)
  for _, flow in ipairs(over) do
    if counted('waiting', flow) + counted('running', flow) == 0 then
      redis.call('ZREM', HELD, flow)
    else
      redis.call('ZADD', HELD, 0, flow)
      restore(flow)
    end
  end
end

-- The first of each band moves one band up when it has waited long enough for that.
local function age()
  local aged_at = tonumber(redis.call('HGET', META, 'aged_at') or 0)
  if now - aged_at < 1000 then
    return
  end
  redis.call('HSET', META, 'aged_at', now)
  for band = 1, LAST_BAND do
    local bottom, top = band * BAND, (band + 1) * BAND
    local head = redis.call('ZRANGEBYSCORE', READY, bottom, top, 'WITHSCORES', 'LIMIT', 0, 1)
    if head[1] and tonumber(head[2]) < top then
      local id, priority = parse(head[1])
      -- The time part of an id stands above its 22 lowest bits (core/ids.py). A double loses the
      -- last 11 of 63 bits, which are none of it.
      local waited_ms = now - id_epoch_ms - math.floor(tonumber(id) / 2 ^ 22)
      local lifted = priority - band
      if waited_ms > aging_ms * (lifted + 1) then
        redis.call('ZADD', READY, (band - 1) * BAND + virtual_time(band - 1), head[1])
      end
    end
  end
end

local function may_start(flow)
  local until_ms = tonumber(redis.call('ZSCORE', HELD, flow) or -1)
  if until_ms > now or room(flow) < 1 then
    return false
  end
  if until_ms >= 0 then
    -- This one is the probe. Should nobody tell how it went, another may pass after a lease.
    redis.call('ZADD', HELD, now + lease_ms, flow)
  end
  return true
end

local function start(member, id, flow)
  redis.call('ZADD', LEASED, now + lease_ms, member)
  redis.call('HSET', OWNER, member, token)
  add_count('waiting', flow, -1)
  add_count('running', flow, 1)
  return redis.call('HGET', MESSAGE, id) or ''
end

-- Virtual time is the tag of the last one taken; one that was parked brings an old tag and does
-- not turn it back. Last tags at or below it say nothing any more.
local function advance(reached)
  for band, tag in pairs(reached) do
    if tag > virtual_time(band) then
      redis.call('HSET', META, 'virtual_time:' .. band, tag)
      redis.call('ZREMRANGEBYSCORE', FLOW .. band, '-inf', tag)
    end
  end
end

local function take()
  local leases, reached, moved = {}, {}, 0
  while #leases < 2 * n and moved < MOVES do
    local page = redis.call('ZPOPMIN', READY, math.min(n - #leases / 2, MOVES - moved))
    if #page == 0 then
      break
    end
    for i = 1, #page, 2 do
      local member, score = page[i], tonumber(page[i + 1])
      local id, _, _, flow = parse(member)
      if may_start(flow) then
        local band = math.floor(score / BAND)
        reached[band] = math.max(reached[band] or 0, score - band * BAND)
        leases[#leases + 1] = member
        leases[#leases + 1] = start(member, id, flow)
      else
        park(member, flow, page[i + 1])
        moved = moved + 1
      end
    end
  end
  advance(reached)
  return leases, moved == MOVES and redis.call('EXISTS', READY) == 1
end

-- When claiming again can bring something without a wake token; -1 = not foreseeable.
local function next_due(unfinished)
  if unfinished then
    return now
  end
  local delayed = redis.call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')
  local held = redis.call('ZRANGEBYSCORE', HELD, now + 1, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  local first = math.min(tonumber(delayed[2] or math.huge), tonumber(held[2] or math.huge))
  return first < math.huge and first or -1
end

promote(tonumber(ARGV[4]))
local leases, unfinished = {}, false
local state = redis.call('HMGET', META, 'epoch', 'beat', 'paused')
if n > 0 and state[3] ~= '1' then
  release_probes()
  age()
  leases, unfinished = take()
  note('claimed', #leases / 2)
end
return {now, state[1] or '', tonumber(state[2] or 0), tonumber(state[3] or 0), next_due(unfinished), leases}
