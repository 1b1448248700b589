"""A queue on a real server whose clock the test sets, and the whole of its state as one value."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from redis import Redis

from core.domain.routing import Member
from core.queue.connections import RedisConnections, RedisSettings
from core.queue.inspect import QueueInspector
from core.queue.keys import QueueKeys
from core.queue.queue import TaskQueue, TaskQueueSettings
from core.queue.scripts import load_sources
from tests.support.queue_model import BANDS, QueueModel
from tests.support.valkey import PrivateValkey

Result = TypeVar("Result")
START_MS = 1_800_000_000_000
AGING_MS = 2000
MOVES = 2
DEFAULT_MAX_RUNNING = 2
_TIME = "redis.call('TIME')"
_SET_TIME = "redis.call('HMGET', META .. ':clock', 'seconds', 'microseconds')"


def sources_under_test(replacements: Iterable[tuple[str, str]] = ()) -> dict[str, str]:
    """The production scripts with a clock to set, few moves and perhaps some bugs."""
    sources = load_sources()
    for old, new in ((_TIME, _SET_TIME), ("local MOVES = 200", f"local MOVES = {MOVES}")):
        assert all(source.count(old) == 1 for source in sources.values()), f"not one {old} in every script"
        sources = {name: source.replace(old, new) for name, source in sources.items()}
    for old, new in replacements:
        assert any(old in source for source in sources.values()), f"no script has {old}"
        sources = {name: source.replace(old, new) for name, source in sources.items()}
    return sources


_DUMP = """
local sets, reply = tonumber(ARGV[1]), {}
for i = 1, #KEYS - 1 do
  if i <= sets then
    reply[i] = redis.call('ZRANGE', KEYS[i], 0, -1, 'WITHSCORES')
  else
    reply[i] = redis.call('HGETALL', KEYS[i])
  end
end
reply[#KEYS] = redis.call('LLEN', KEYS[#KEYS])
return reply
"""


class QueueBench:
    """A queue under test; a context manager that also owns the event loop."""

    def __init__(self, server: PrivateValkey, sources: Mapping[str, str]) -> None:
        self.keys = QueueKeys(queue="test")
        self._runner = asyncio.Runner()
        self.client: Redis = server.client()
        self._dump = self.client.register_script(_DUMP)
        self._connections = RedisConnections(RedisSettings(url=server.url))
        settings = TaskQueueSettings(
            default_max_running=DEFAULT_MAX_RUNNING, aging_seconds=AGING_MS / 1000, id_epoch_ms=START_MS
        )
        self.queue = TaskQueue(self._connections, "test", settings=settings, sources=sources)
        self.inspector = QueueInspector(self._connections, "test")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.run(self._connections.close())
        self._runner.close()
        self.client.close()

    def run(self, awaited: Coroutine[Any, Any, Result]) -> Result:
        """Wait for one call of the queue."""
        return self._runner.get_loop().run_until_complete(awaited)

    def begin(self) -> QueueModel:
        """Empty the server and give the model of an empty queue."""
        self.client.flushdb()
        model = QueueModel(
            now_ms=START_MS,
            id_epoch_ms=START_MS,
            moves=MOVES,
            aging_ms=AGING_MS,
            default_max_running=DEFAULT_MAX_RUNNING,
        )
        self.set_clock(model.now_ms)
        return model

    def set_clock(self, now_ms: int) -> None:
        """Make it `now_ms` for the scripts."""
        seconds, ms = divmod(now_ms, 1000)
        clock = ["seconds", str(seconds), "microseconds", str(ms * 1000)]
        self.client.hset(f"{self.keys.meta}:clock", items=clock)

    def drain_wake(self) -> None:
        """Take all wake tokens."""
        self.client.delete(self.keys.wake)

    def state(self, flows: Iterable[str]) -> dict[str, Any]:
        """Read everything the scripts keep."""
        keys = self.keys
        sets = [keys.ready, keys.delayed, keys.leased, keys.held]
        sets += [keys.parked(flow) for flow in flows] + [keys.flow(band) for band in BANDS]
        hashes = [keys.owner, keys.message, keys.limits, keys.count, keys.meta]
        reply: Any = self._dump(keys=[*sets, *hashes, keys.wake], args=[len(sets)])
        pairs = [dict(zip(flat[::2], flat[1::2], strict=True)) for flat in reply[:-1]]
        owner, message, limits, count, meta = pairs[len(sets) :]
        state: dict[str, Any] = {
            name: _numbers(scores) for name, scores in zip(sets, pairs, strict=False) if scores
        }
        state |= {"owner": owner, "message": message, "limits": _numbers(limits), "count": _numbers(count)}
        return state | {"wake": reply[-1], "meta": _meta_of_server(meta)}


def _numbers(texts: Mapping[str, str]) -> dict[str, float]:
    return {name: float(text) for name, text in texts.items()}


_TOLD = ("epoch", "rebuilding", "paused", "beat", "parked", "served_cost", "aged_at")


def _meta_of_server(meta: Mapping[str, str]) -> dict[str, float | str]:
    told = {name: value for name, value in meta.items() if name in _TOLD and value != "0"}
    times = {name: float(value) for name, value in meta.items() if name.startswith("virtual_time:")}
    return told | times


def state_of_model(model: QueueModel) -> dict[str, Any]:
    """What `QueueBench.state` should read."""
    keys = QueueKeys(queue="test")
    state: dict[str, Any] = {
        keys.ready: _texts(model.ready),
        keys.delayed: _texts(model.delayed),
        keys.leased: _texts(model.leased),
        keys.held: dict(model.held),
    }
    for member, score in model.parked.items():
        state.setdefault(keys.parked(member.flow), {})[str(member)] = score
    for (band, flow), tag in model.last_tags.items():
        state.setdefault(keys.flow(band), {})[flow] = tag
    state = {name: value for name, value in state.items() if value}
    limits: dict[str, float] = {f"w:{flow}": w for flow, w in model.weights.items() if w != 1}
    limits |= {f"r:{flow}": bound for flow, bound in model.max_running.items()}
    counts = {f"waiting:{flow}": n for flow, n in model.waiting.items()}
    counts |= {f"running:{flow}": n for flow, n in model.running.items()}
    messages = {str(identity): message for identity, message in model.messages.items()}
    state |= {"owner": _texts(model.owner), "message": messages, "limits": limits}
    return state | {"count": counts, "wake": model.wake_tokens, "meta": _meta_of_model(model)}


def _texts(of: Mapping[Member, Any]) -> dict[str, Any]:
    return {str(member): value for member, value in of.items()}


def _meta_of_model(model: QueueModel) -> dict[str, float | str]:
    numbers = {
        "beat": model.beat,
        "parked": len(model.parked),
        "served_cost": model.served_cost,
        "aged_at": model.aged_at_ms,
    }
    told: dict[str, float | str] = {name: str(value) for name, value in numbers.items() if value}
    texts = {"epoch": model.epoch, "rebuilding": model.rebuilding, "paused": "1" if model.paused else ""}
    told |= {name: text for name, text in texts.items() if text}
    return told | {f"virtual_time:{band}": tag for band, tag in model.virtual_times.items()}
