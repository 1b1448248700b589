"""The client: one method for each thing a business system does."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urljoin, urlsplit

import httpx
from pydantic import BaseModel, ValidationError

from muster_client.errors import MusterClientError, NotInTime, RequestRefused, ServiceUnreachable
from muster_client.models import (
    BulkResult,
    Fault,
    Model,
    NewTask,
    Recognition,
    Task,
    TaskPage,
    Upload,
    WorkerState,
)

_T = TypeVar("_T", bound=BaseModel)

_HOLD_SECONDS = 20
"""How long the service holds one answer while a task runs."""
_POLL_SECONDS = 0.15
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})
_IMAGE_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".bmp": "image/bmp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
}


class Client:
    """A connection to one Muster; close it, or use it as a context manager.

    Args:
        url: Where the service listens.
        api_key: A key of your system (`mst_…`); not needed where authentication is off.
        timeout_seconds: Time for one answer, on top of what `wait` asks for.
    """

    def __init__(
        self, url: str = "http://127.0.0.1:8000", api_key: str | None = None, *, timeout_seconds: float = 30.0
    ) -> None:
        self.url = url.rstrip("/")
        self._timeout_seconds = timeout_seconds
        headers = {"User-Agent": "muster-client/0.1.0"}
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
        # A proxy of the environment does not lead to this machine itself.
        is_here = urlsplit(self.url).hostname in _HERE
        self._http = httpx.Client(
            base_url=self.url, headers=headers, timeout=timeout_seconds, trust_env=not is_here
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submit(self, task: NewTask, *, idempotency_key: str | None = None) -> Task:
        """Hand in a task; it is stored when this returns. The same key never makes a second task."""
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        body = task.model_dump(mode="json", exclude_none=True)
        return _read(Task, self._ask("POST", "/v1/tasks", json=body, headers=headers))

    def upload(self, picture: Path | str | bytes) -> Upload:
        """Hand in a picture's bytes or file; its `url` goes into `NewCamera.image_url`."""
        if isinstance(picture, bytes):
            content, content_type = picture, "application/octet-stream"
        else:
            path = Path(picture)
            content = path.read_bytes()
            content_type = _IMAGE_TYPES.get(path.suffix.lower(), "application/octet-stream")
        answer = self._ask("POST", "/v1/uploads", content=content, headers={"Content-Type": content_type})
        return _read(Upload, answer)

    def get(self, task_id: str, *, wait_seconds: float = 0) -> Task:
        """The task as it is; with `wait_seconds`, as soon as it has ended or that time is over."""
        asked = {"wait": f"{wait_seconds:g}"} if wait_seconds else {}
        answer = self._ask(
            "GET", f"/v1/tasks/{task_id}", params=asked, timeout=self._timeout_seconds + wait_seconds
        )
        return _read(Task, answer)

    def wait(
        self,
        task_id: str,
        *,
        timeout_seconds: float | None = None,
        on_change: Callable[[Task], None] | None = None,
    ) -> Task:
        """The task when it has ended; `on_change` sees it on the way, several times a second.

        Raises:
            NotInTime: it has not ended within `timeout_seconds`; it goes on.
        """
        ends_at = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while True:
            left = _HOLD_SECONDS if ends_at is None else max(0.0, ends_at - time.monotonic())
            hold_seconds = 0 if on_change else min(_HOLD_SECONDS, int(left))
            task = self.get(task_id, wait_seconds=hold_seconds)
            if on_change:
                on_change(task)
            if task.is_final:
                return task
            if ends_at is not None and time.monotonic() >= ends_at:
                raise NotInTime(f"Task {task_id} is still {task.status} after {timeout_seconds:g} s.")
            if not hold_seconds:
                time.sleep(min(_POLL_SECONDS, left))

    def iter_tasks(self, *, page_size: int = 100, **filters: str | list[str]) -> Iterator[Task]:
        """Your tasks, newest first; filters are named as in the service: `status`, `camera_id`, `prompt`."""
        token: str | None = None
        while True:
            params: dict[str, Any] = {"page_size": page_size, **filters}
            if token:
                params["page_token"] = token
            page = _read(TaskPage, self._ask("GET", "/v1/tasks", params=params))
            yield from page.items
            token = page.next_page_token
            if not token:
                return

    def cancel(self, task_id: str) -> Task:
        """Cancel a task; one that is running is stopped soon after. RequestRefused when it has ended."""
        return _read(Task, self._ask("POST", f"/v1/tasks/{task_id}/cancel"))

    def retry(self, task_id: str) -> Task:
        """Start a failed, cancelled or expired task anew; recognised pictures are kept."""
        return _read(Task, self._ask("POST", f"/v1/tasks/{task_id}/retry"))

    def cancel_many(self, *, dry_run: bool = False, **selection: str | list[str]) -> BulkResult:
        """Cancel all tasks that a filter or `ids` choose; with `dry_run` only count them.

        Filters are named as in the service: `status` (a list), `camera_id`, `business_id`, `prompt`,
        `created_after`, `created_before`. One call changes up to 5,000; repeat it while `has_more`.
        """
        return self._change_many("cancel", selection, dry_run=dry_run)

    def retry_many(self, *, dry_run: bool = False, **selection: str | list[str]) -> BulkResult:
        """Retry all tasks that a filter or `ids` choose, like `cancel_many`."""
        return self._change_many("retry", selection, dry_run=dry_run)

    def _change_many(
        self, change: str, selection: Mapping[str, str | list[str]], *, dry_run: bool
    ) -> BulkResult:
        body = {**selection, "dry_run": dry_run}
        return _read(BulkResult, self._ask("POST", f"/v1/tasks/{change}", json=body))

    def download(self, picture: Recognition | str) -> bytes:
        """The annotated picture (JPEG) of a recognition, or what is at one of the service's links.

        Raises:
            ValueError: there is no picture, or the link leads to another host.
        """
        link = picture if isinstance(picture, str) else picture.recognition_url
        if not link:
            raise ValueError("this recognition has no annotated picture")
        target = urljoin(f"{self.url}/", link)
        if urlsplit(target).netloc != urlsplit(self.url).netloc:
            # The key goes along with every request, so it must not go elsewhere.
            raise ValueError("the link leads to another host than the service")
        return self._ask("GET", target).content

    def models(self) -> list[Model]:
        """The models and what each can be asked for."""
        return [Model.model_validate(item) for item in self._items("/v1/models")]

    def workers(self) -> list[WorkerState]:
        """The workers that live."""
        return [WorkerState.model_validate(item) for item in self._items("/v1/workers")]

    def is_ready(self) -> bool:
        """Whether the service answers and can do its work; never raises because it cannot."""
        try:
            return self._http.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def _items(self, path: str) -> list[Any]:
        return list(self._ask("GET", path).json()["items"])

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **options)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise ServiceUnreachable(f"No answer from {self.url}: {error or type(error).__name__}") from error
        if answer.is_success:
            return answer
        raise _refusal(answer)


def _refusal(answer: httpx.Response) -> RequestRefused:
    """What an error answer says, also when it is not the service's own."""
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    if not isinstance(problem, Mapping):
        problem = {}
    title = problem.get("title") or answer.reason_phrase
    faults = [Fault.model_validate(fault) for fault in problem.get("errors") or ()]
    return RequestRefused(
        answer.status_code,
        str(problem.get("code") or f"http_{answer.status_code}"),
        str(problem.get("detail") or title or "The service answered with an error."),
        faults,
        problem.get("request_id"),
    )


def _read(model: type[_T], answer: httpx.Response) -> _T:
    try:
        return model.model_validate_json(answer.content)
    except ValidationError as error:
        raise MusterClientError(f"The answer is not a {model.__name__.lower()}: is this Muster?") from error
