-- Tells how deep the queue is. Read-only.
-- KEYS     ready delayed leased count held meta
-- ARGV     nothing
-- Returns  now_ms, ready, delayed, leased, overdue, expired, {(meta field, value)*},
--          {(waiting:<flow> or running:<flow>, count)*}, {(held flow, until_ms)*}
return {
  now,
  redis.call('ZCARD', READY),
  redis.call('ZCARD', DELAYED),
  redis.call('ZCARD', LEASED),
  redis.call('ZCOUNT', DELAYED, '-inf', now),
  redis.call('ZCOUNT', LEASED, '-inf', now),
  redis.call('HGETALL', META),
  redis.call('HGETALL', COUNT),
  redis.call('ZRANGE', HELD, 0, -1, 'WITHSCORES'),
}
