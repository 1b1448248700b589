"""Log lines: JSON, named events, no secrets."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from core.logs import configure_logs, cut_secrets

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Log into memory; gives what was logged, parsed."""
    written = io.StringIO()
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    configure_logs("info", stream=written)
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    root.handlers[:], root.level = before
    structlog.reset_defaults()


def test_an_event_is_one_line_of_json_with_level_and_time(lines: Lines) -> None:
    structlog.get_logger().info("task.submitted", task_id=7)
    (line,) = lines()
    assert (line["event"], line["level"], line["task_id"]) == ("task.submitted", "info", 7)
    assert line["time"].endswith("Z")


def test_lines_below_the_level_are_left_out(lines: Lines) -> None:
    structlog.get_logger().debug("task.submitted")
    logging.getLogger("somebody").debug("detail")
    assert lines() == []


@pytest.mark.parametrize(
    ("given", "logged"),
    [
        ("https://cams.example/a.jpg?sig=abc&x=1", "https://cams.example/a.jpg"),
        ("https://user:pw@cams.example/a.jpg#part", "https://cams.example/a.jpg"),
        ("redis://:pw@host:6379/0", "redis://host:6379/0"),
        (
            "could not fetch https://h/x?token=1, and http://u:p@i/y",
            "could not fetch https://h/x and http://i/y",
        ),
        ("mysql+asyncmy://muster:pw@db/muster", "mysql+asyncmy://db/muster"),
        ("no address: a/b?c=d", "no address: a/b?c=d"),
    ],
)
def test_users_and_queries_of_urls_are_cut(given: str, logged: str) -> None:
    assert cut_secrets(None, "info", {"event": "x", "url": given})["url"] == logged


@pytest.mark.parametrize("name", ["webhook_secret", "password", "api_key", "Authorization", "body"])
def test_secrets_and_bodies_are_hidden_wherever_they_stand(name: str) -> None:
    hidden = cut_secrets(None, "info", {"event": "x", name: "value", "inner": {name: "value"}})
    assert "value" not in json.dumps(hidden)


def test_a_request_is_logged_with_its_path_alone(lines: Lines) -> None:
    logging.getLogger("uvicorn.access").info(
        '%s - "%s %s HTTP/%s" %d', "10.0.0.7:5123", "GET", "/v1/tasks?business_id=x", "1.1", 200
    )
    (line,) = lines()
    assert line["event"] == "request.answered"
    assert (line["method"], line["path"], line["status"], line["client"]) == (
        "GET",
        "/v1/tasks",
        200,
        "10.0.0.7",
    )


def test_a_librarys_line_has_the_same_form_and_names_the_library(lines: Lines) -> None:
    logging.getLogger("somebody.else").warning("odd: %s", "https://h/x?token=1")
    logging.getLogger("httpx").info("HTTP Request: GET https://h/x?token=1")
    (line,) = lines()
    assert (line["event"], line["library"]) == ("odd: https://h/x", "somebody.else")


def test_an_exception_stays_on_its_line(lines: Lines) -> None:
    try:
        int("at https://h/x?token=1")
    except ValueError:
        structlog.get_logger().exception("loop.failed")
    (line,) = lines()
    assert "https://h/x" in line["exception"]
    assert "token=1" not in line["exception"]
