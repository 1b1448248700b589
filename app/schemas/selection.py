"""What comes in: which tasks or deliveries a change is made to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Self, TypeVar

from pydantic import AfterValidator, Field, model_validator

from app.auth import Principal
from app.schemas.faults import Meaning, check_form, failure, url_faults
from app.schemas.submission import Incoming, Name, SystemCode, Url, parse_time
from core.clock import utc_now
from core.domain.delivery import DeliveryStatus
from core.domain.task import TaskStatus
from core.errors import CallbackUrlBlocked, Fault
from core.store.delivery_log import DeliveryFilter
from core.store.tasks import TaskFilter

MAX_IDS = 500
_MAX_ID = 2**63 - 1
_NOT_RECEIVED = (DeliveryStatus.DEAD, DeliveryStatus.REFUSED)

Selected = TypeVar("Selected", bound="_Selection")


def _is_id(text: str) -> str:
    if int(text) > _MAX_ID:
        raise ValueError("is not an id")
    return text


def _is_time(text: str) -> str:
    parse_time(text)
    return text


Id = Annotated[str, Field(pattern=r"^[0-9]{1,19}$"), AfterValidator(_is_id)]
Ids = Annotated[list[Id], Field(min_length=1, max_length=MAX_IDS)]
Moment = Annotated[str, AfterValidator(_is_time)]


class _Selection(Incoming):
    """A filter; what is left out does not restrict."""

    ids: Ids | None = None
    system_code: SystemCode | None = Field(None, description="For operators; a system reaches its own alone")
    created_after: Moment | None = Field(None, description="This time or later; RFC 3339")
    created_before: Moment | None = Field(None, description="Before this time; RFC 3339")
    dry_run: bool = Field(False, description="Change nothing and answer how many there are")

    @model_validator(mode="after")
    def _chooses(self) -> Self:
        chosen = self.model_dump(exclude={"dry_run"}, exclude_none=True)
        if not chosen:
            raise ValueError("must name ids or at least one filter")
        return self


class TaskSelection(_Selection):
    """Which tasks are changed."""

    status: Annotated[list[Annotated[TaskStatus, Field(strict=False)]], Field(min_length=1)] | None = None
    business_id: Name | None = None
    camera_id: Name | None = None
    prompt: Name | None = None


class DeliverySelection(_Selection):
    """Which deliveries are sent again."""

    status: Annotated[list[Annotated[DeliveryStatus, Field(strict=False)]], Field(min_length=1)] | None = (
        Field(None, description="Absent = dead and refused, those that were not received; with ids = any")
    )
    task_id: Id | None = None
    host: Annotated[str, Field(min_length=1, max_length=255)] | None = Field(
        None, description="The host of the url, without its port"
    )


class CallbackTrialIn(Incoming):
    """Where a callback to try is sent."""

    url: Url


def read_task_selection(raw: Any, principal: Principal, meaning: Meaning) -> tuple[TaskFilter, bool]:
    """The filter that a body describes, and whether nothing is to be changed; raises ValidationFailed."""
    body = _read(TaskSelection, raw, principal)
    wanted = TaskFilter(
        statuses=tuple(body.status or ()),
        business_id=body.business_id,
        camera_id=body.camera_id,
        prompt=body.prompt.upper() if body.prompt else None,
        **_common(body, meaning),
    )
    return wanted, body.dry_run


def read_delivery_selection(raw: Any, principal: Principal, meaning: Meaning) -> tuple[DeliveryFilter, bool]:
    """The same for deliveries; raises ValidationFailed."""
    body = _read(DeliverySelection, raw, principal)
    usual = _NOT_RECEIVED if body.ids is None else ()
    wanted = DeliveryFilter(
        statuses=usual if body.status is None else tuple(body.status),
        task_id=None if body.task_id is None else int(body.task_id),
        host=body.host.lower() if body.host else None,
        **_common(body, meaning),
    )
    return wanted, body.dry_run


def read_trial_url(raw: Any, meaning: Meaning) -> str:
    """The url to send a callback to; raises ValidationFailed."""
    body, faults = check_form(CallbackTrialIn, raw)
    if body is None:
        raise failure(faults)
    if wrong := list(url_faults(body.url, "/url", CallbackUrlBlocked.code, meaning.urls)):
        raise failure(wrong)
    return body.url


def _read(schema: type[Selected], raw: Any, principal: Principal) -> Selected:
    body, faults = check_form(schema, raw)
    code = raw.get("system_code") if isinstance(raw, dict) else None
    if principal.system_code is not None and isinstance(code, str) and code != principal.system_code:
        detail = f"must be the API key's own, {principal.system_code}, or be left out"
        faults.append(Fault(pointer="/system_code", detail=detail))
    if faults or body is None:
        raise failure(faults)
    return body


def _common(body: _Selection, meaning: Meaning) -> Mapping[str, Any]:
    def moment(text: str | None) -> datetime | None:
        return None if text is None else meaning.moment(text, utc_now())

    return {
        "system_code": body.system_code,
        "ids": None if body.ids is None else tuple(int(each) for each in body.ids),
        "created_after": moment(body.created_after),
        "created_before": moment(body.created_before),
    }
