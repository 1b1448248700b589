"""Submissions that must be refused."""

from __future__ import annotations

from typing import Any

from tests.support.api import Answer, Api, camera, submission


async def refused(api: Api, body: Any, status: int, code: str) -> Answer:
    """Submit and require a problem of that kind."""
    answer = await api.post("/v1/tasks", body)
    problem = answer.json
    assert (answer.status, problem["code"]) == (status, code), problem
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert problem["type"] == f"urn:muster:problem:{code}"
    assert problem["status"] == status
    assert problem["instance"] == "/v1/tasks"
    assert problem["request_id"] == answer.headers["X-Request-Id"]
    return answer


async def fault(api: Api, body: Any, code: str = "validation_failed") -> tuple[str, str]:
    """Submit and require one fault; give its pointer and detail."""
    answer = await refused(api, body, 422, code)
    (found,) = answer.json["errors"]
    return found["pointer"], found["detail"]


def with_camera(**changes: Any) -> dict[str, Any]:
    return submission(cameras=[camera(**changes)])
