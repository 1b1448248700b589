"""Manners of every answer: headers, errors of the protocol, no surprise a 500."""

from __future__ import annotations

import re

import pytest

from tests.support.api import Api, submission

EVERYWHERE = ["/livez", "/docs", "/openapi.json", "/v1/models", "/v1/tasks/1", "/nowhere", "/recognition/1"]


@pytest.mark.parametrize("path", EVERYWHERE)
async def test_every_answer_names_its_request_and_is_guarded(api: Api, path: str) -> None:
    headers = (await api.get(path)).headers

    assert re.fullmatch(r"[0-9a-f]{32}", headers["X-Request-Id"])
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "Server" not in headers


async def test_a_callers_own_request_id_is_kept(api: Api) -> None:
    answer = await api.get("/v1/tasks/1", X_Request_Id="patrol.7")

    assert answer.headers["X-Request-Id"] == answer.json["request_id"] == "patrol.7"


@pytest.mark.parametrize("identity", ["a b", "x" * 65, "a/b", "ä"])
async def test_a_request_id_that_could_do_harm_is_replaced(api: Api, identity: str) -> None:
    answer = await api.ask("GET", "/livez", headers={"X-Request-Id": identity})

    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-Id"])


@pytest.mark.parametrize("path", ["/v1/tasks", "/v1/tasks/1", "/v1/stats"])
async def test_answers_about_tasks_are_kept_nowhere(api: Api, path: str) -> None:
    assert (await api.get(path)).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/nowhere", "/v1", "/v1/task", "/v1//tasks", "/docs/secret"])
async def test_what_is_not_there_is_a_problem(api: Api, path: str) -> None:
    answer = await api.get(path)

    assert (answer.status, answer.json["code"]) == (404, "not_found")
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/tasks", "GET"),
        ("PATCH", "/v1/tasks/1", "DELETE"),
        ("POST", "/v1/models", "GET"),
        ("BREW", "/livez", "GET"),
    ],
)
async def test_a_method_that_is_not_there_is_a_problem_that_names_the_others(
    api: Api, method: str, path: str, allowed: str
) -> None:
    answer = await api.ask(method, path)

    assert (answer.status, answer.json["code"]) == (405, "method_not_allowed")
    assert allowed in answer.headers["Allow"].split(", ")


@pytest.mark.parametrize("path", ["/livez", "/v1/models"])
async def test_head_is_answered_wherever_get_is(api: Api, path: str) -> None:
    assert (await api.ask("HEAD", path)).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/v1/tasks/%ff",
        "/v1/tasks/%00",
        "/v1/tasks/..%2f..%2fetc",
        "/v1/tasks?page_token=%ff",
        "/v1/tasks?status=%00",
        "/v1/tasks?=",
        "/v1/tasks?&&&",
        "/v1/tasks?page_size=1&page_size=x",
        "/v1/tasks/9223372036854775807",
        "/v1/deliveries?task_id=9223372036854775806",
        "/recognition/9223372036854775806",
        "/docs/%2e%2e%2fpage.html",
        "/docs/..%5cstart.js",
    ],
)
async def test_strange_addresses_are_answered_without_an_error_of_ours(api: Api, path: str) -> None:
    assert (await api.get(path)).status < 500


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/ld+json"]
)
async def test_json_is_taken_under_its_other_names(api: Api, kind: str) -> None:
    answer = await api.post("/v1/tasks", submission(), Content_Type=kind)

    assert answer.status == 202


@pytest.mark.parametrize("kind", ["", "text/plain", "multipart/form-data; boundary=x", "application/jsonp"])
async def test_what_is_not_json_is_refused(api: Api, kind: str) -> None:
    answer = await api.post("/v1/tasks", submission(), Content_Type=kind)

    assert (answer.status, answer.json["code"]) == (415, "not_json")


async def test_the_documentation_page_asks_no_other_host_and_has_no_inline_script(api: Api) -> None:
    page = await api.get("/docs")
    text = page.content.decode()

    assets = re.findall(r'(?:src|href)="(/docs/[^"]+)"', text)
    answers = [await api.get(asset) for asset in assets]

    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    assert not re.search(r"<script>|<style|style=|onload|https?://", text)
    assert len(assets) == 4
    assert [answer.status for answer in answers] == [200] * 4
    assert all(len(answer.content) > 100 for answer in answers)
    assert "max-age" in answers[0].headers["Cache-Control"]
