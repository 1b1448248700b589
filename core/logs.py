"""How the service logs: one event per line, JSON unless a person is looking.

Event names are a noun and a past participle (`task.submitted`, `attempt.ended`). Secrets, bodies
and the queries of urls are kept out by the parts that log; what slips through is cut here.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_URL = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]{1,20}://)(?:[^\s/?#@'\"]*@)?(?P<place>[^\s?#'\"]*)[?#]?[^\s'\"]*"
)
_SECRET = re.compile(r"secret|password|token|authorization|signature|api_?key|cookie", re.IGNORECASE)
_NOT_SECRET = frozenset({"claim_token"})
_CONTENT = frozenset({"body", "content", "payload"})
_HIDDEN = "[hidden]"
_QUIET = ("httpx", "httpcore", "alembic", "apscheduler", "asyncio", "aiosqlite", "uvicorn.error")
"""Libraries whose everyday lines say nothing to an operator; their warnings do."""


def configure_logs(level: str, *, stream: TextIO | None = None) -> None:
    """Send structlog's and the libraries' lines to `stream` (stderr), JSON when it is not a terminal."""
    target = stream or sys.stderr
    least = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.format_exc_info,
        cut_secrets,
    ]
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(timestamp_key="time", colors=True)
        if target.isatty()
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.WriteLoggerFactory(file=target),
        cache_logger_on_first_use=True,
    )
    _route_libraries(target, least, shared, renderer)


def _route_libraries(target: TextIO, least: int, shared: list[Processor], renderer: Processor) -> None:
    """Write what libraries log through the standard library in the same form."""
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    line = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, _name_library], processors=[remove, renderer]
    )
    writer = logging.StreamHandler(target)
    writer.setFormatter(line)
    root = logging.getLogger()
    root.handlers[:] = [writer]
    root.setLevel(least)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(least, logging.WARNING))
    access = logging.getLogger("uvicorn.access")
    access.handlers[:] = [RequestLines()]
    access.propagate = False
    access.setLevel(least)


def cut_secrets(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Hide values of secret names and cut user, query and fragment off every url."""
    return {name: _clean(name, value) for name, value in event_dict.items()}


def _clean(name: str, value: Any) -> Any:
    if name in _CONTENT or (_SECRET.search(name) and name not in _NOT_SECRET):
        return _HIDDEN
    if isinstance(value, str):
        return _URL.sub(r"\g<scheme>\g<place>", value) if "://" in value else value
    if isinstance(value, Mapping):
        return {key: _clean(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean("", inner) for inner in value]
    return value


def _name_library(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Say which library a line is from; the event is the library's own sentence."""
    record = event_dict.get("_record")
    if isinstance(record, logging.LogRecord):
        event_dict["library"] = record.name
    return event_dict


_PROBES = frozenset({"/livez", "/readyz", "/metrics"})
"""Asked every few seconds by machines; of interest only when something is looked for."""


class RequestLines(logging.Handler):
    """Turns uvicorn's access lines into `request.answered`, with the path but never its query."""

    def __init__(self) -> None:
        super().__init__()
        self._log = structlog.get_logger()

    def emit(self, record: logging.LogRecord) -> None:
        """Log one answered request."""
        if not isinstance(record.args, tuple) or len(record.args) != 5:
            return
        client, method, target, _version, status = record.args
        path = str(target).partition("?")[0]
        write = self._log.debug if path in _PROBES else self._log.info
        write(
            "request.answered",
            method=method,
            path=path,
            status=status,
            client=str(client).rpartition(":")[0],
        )
