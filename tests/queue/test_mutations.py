"""The model test can fail: each bug seeded into the scripts makes it go red."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from core.errors import QueueUnavailable
from tests.support.queue_bench import QueueBench, sources_under_test
from tests.support.queue_machine import machine_for
from tests.support.valkey import PrivateValkey

_SETTLE_GUARD = "if redis.call('HGET', OWNER, member) ~= token then"
_EXTEND_GUARD = "if redis.call('HGET', OWNER, member) == token then"
_HELD_OR_FULL = "if until_ms > now or room(flow) < 1 then"
_CANCEL_WAITING = "if redis.call('ZREM', READY, member) == 1 or redis.call('ZREM', DELAYED, member) == 1 then"

BUGS: dict[str, tuple[str, str]] = {
    "settle ignores the token": (_SETTLE_GUARD, "if not redis.call('HGET', OWNER, member) then"),
    "extend ignores the token": (_EXTEND_GUARD, "if redis.call('HGET', OWNER, member) then"),
    "claim forgets the lease": ("  redis.call('ZADD', LEASED, now + lease_ms, member)\n", ""),
    "claim forgets the owner": ("  redis.call('HSET', OWNER, member, token)\n  add", "  add"),
    "claim takes what is paused": ("if n > 0 and state[3] ~= '1' then", "if n > 0 then"),
    "enqueue ignores what is present": ("  if is_present(member, flow) then", "  if false then"),
    "enqueue ignores what is leased": ("    or redis.call('ZSCORE', LEASED, member)\n", ""),
    "enqueue ignores what is parked": ("    or redis.call('ZSCORE', PARKED .. flow, member)\n", ""),
    "enqueue ignores a stale rebuild": ("if rebuild_id ~= '' and", "if false and"),
    "a rebuild ends under another's name": (
        "if redis.call('HGET', META, 'rebuilding') ~= uuid then",
        "if false then",
    ),
    "priority is ignored": ("priority * BAND + tag, member", "tag, member"),
    "weight is ignored": ("cost / weight", "cost"),
    "cost is ignored": ("cost / weight", "1 / weight"),
    "the last tag is ignored": ("math.max(virtual_time(priority), last_tag)", "virtual_time(priority)"),
    "virtual time is ignored": ("math.max(virtual_time(priority), last_tag)", "last_tag"),
    "virtual time does not advance": ("if tag > virtual_time(band) then", "if false then"),
    "virtual time turns back": ("if tag > virtual_time(band) then", "if true then"),
    "tags are never fresh": ("local tags_are_fresh = false", "local tags_are_fresh = true"),
    "reap does not take over": (
        "  redis.call('HSET', OWNER, member, token)\n  redis.call('ZADD'",
        "  redis.call('ZADD'",
    ),
    "reap takes what has not expired": ("LEASED, '-inf', now, 'LIMIT'", "LEASED, '-inf', now + 1, 'LIMIT'"),
    "promote drops the entry": ("    to_ready(member)\n  end\n  note('promoted'", "  end\n  note('promoted'"),
    "promote is early": ("DELAYED, '-inf', now, 'LIMIT'", "DELAYED, '-inf', now + 1, 'LIMIT'"),
    "cancel forgets the delayed": (_CANCEL_WAITING, "if redis.call('ZREM', READY, member) == 1 then"),
    "cancel forgets the parked": ("if redis.call('ZREM', PARKED .. flow, member) == 1 then", "if false then"),
    "hasten puts off": ("if due_ms > latest_ms then", "if due_ms >= 0 then"),
    "hasten forgets the leased": ("elseif expires_at_ms > latest_ms then", "elseif false then"),
    "max_running is ignored": (_HELD_OR_FULL, "if until_ms > now then"),
    "a hold is ignored": (_HELD_OR_FULL, "if room(flow) < 1 then"),
    "a hold never ends": (
        "local over = redis.call('ZRANGEBYSCORE', HELD, 1, now,",
        "local over = redis.call('ZRANGEBYSCORE', HELD, 1, 0,",
    ),
    "the parked are forgotten by settle": (
        "  add_count('running', flow, -1)\n  restore(flow)",
        "  add_count('running', flow, -1)",
    ),
    "the parked are forgotten by limit": ("  restore(flow)\nend\nreturn (#ARGV", "end\nreturn (#ARGV"),
    "the parked come back with a new tag": (
        "redis.call('ZADD', READY, entries[i + 1], entries[i])",
        "to_ready(entries[i])",
    ),
    "aging waits for nothing": ("if waited_ms > aging_ms * (lifted + 1) then", "if true then"),
    "aging never happens": ("if now - aged_at < 1000 then", "if true then"),
    "ack keeps the message": ("      redis.call('HDEL', MESSAGE, id)\n      cost", "      cost"),
    "a message changes": ("'HSETNX', MESSAGE", "'HSET', MESSAGE"),
    "nobody is woken": ("  if tokens < 1 then", "  if true then"),
    "running is not counted": ("  add_count('running', flow, 1)\n", ""),
}


@pytest.mark.parametrize("bug", BUGS)
def test_the_model_test_notices_that(bug: str, shared_valkey: PrivateValkey) -> None:
    examples = settings(
        max_examples=150,
        stateful_step_count=50,
        derandomize=True,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    # A bug shows as a wrong answer or state, or as a script that fails.
    with (
        QueueBench(shared_valkey, sources_under_test([BUGS[bug]])) as bench,
        pytest.raises((AssertionError, QueueUnavailable)),
    ):
        run_state_machine_as_test(machine_for(bench), settings=examples)
