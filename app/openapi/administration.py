"""The operations that change the service or set up a receiver, described."""

from __future__ import annotations

from app.openapi.parts import OF_BODY, TEXT, Operation, Parameter, Reply
from app.schemas.outcomes import CallbackTrialView, PausedView, SecretView
from app.schemas.selection import CallbackTrialIn
from core.domain.routing import QueueName
from core.errors import CallbackUrlBlocked, DatabaseUnavailable, Forbidden, NotFound

_QUEUE = Parameter(
    name="name", place="path", schema={"enum": [name.value for name in QueueName]}, description="The queue"
)
_SYSTEM = Parameter(name="code", place="path", schema=TEXT, description="The system's code")


def _pausing(verb: str, summary: str, description: str) -> Operation:
    return Operation(
        method="post",
        path=f"/v1/queues/{{name}}/{verb}",
        tag="Operating",
        name=f"{verb}Queue",
        summary=summary,
        description=description,
        parameters=(_QUEUE,),
        replies={200: Reply(description="What holds now", model=PausedView)},
        errors=(NotFound, Forbidden, DatabaseUnavailable),
    )


ADMINISTRATION = (
    _pausing(
        "pause",
        "Stop claiming from a queue",
        "For operators. Submissions go on, what runs ends, `queue_ttl_seconds` goes on counting. It outlives "
        "restarts and the loss of Redis.",
    ),
    _pausing("resume", "Claim from a queue again", "For operators."),
    Operation(
        method="post",
        path="/v1/systems/{code}/secret/rotate",
        tag="Operating",
        name="rotateSecret",
        summary="Give a system a new callback secret",
        description="For operators. Callbacks are signed with both secrets for 24 hours; a second rotation "
        "within that time ends the first secret's.",
        parameters=(_SYSTEM,),
        replies={200: Reply(description="The new secret", model=SecretView)},
        errors=(NotFound, Forbidden, DatabaseUnavailable),
    ),
    Operation(
        method="post",
        path="/v1/systems/{code}/test-callback",
        tag="Callbacks",
        name="tryCallback",
        summary="Send one signed callback to a url and tell what came back",
        description="Its type is `muster.test`. It is sent once, under the same rules and limits as any.",
        parameters=(_SYSTEM,),
        body=CallbackTrialIn,
        replies={200: Reply(description="What the receiver answered", model=CallbackTrialView)},
        errors=(*OF_BODY, CallbackUrlBlocked, NotFound, DatabaseUnavailable),
    ),
)
