"""Pictures that come in and go out."""

from __future__ import annotations

from quart import Blueprint, Response, request

from app.context import context
from app.requests import identifier, principal, raw_body
from app.responses import json_response, tagged_response
from app.schemas.answers import UploadView
from core.errors import Unauthenticated

pictures = Blueprint("pictures", __name__)


@pictures.post("/v1/uploads")
async def upload() -> Response:
    """Keep a picture for a day."""
    await principal()
    kept = await context().pictures.take_in(await raw_body())
    return json_response(UploadView(url=kept.url, expires_at=kept.expires_at), 201)


@pictures.get("/v1/tasks/<task_id>/recognitions/<recognition_id>/image")
async def image(task_id: str, recognition_id: str) -> Response:
    """Show an annotated picture, by key or by signed link."""
    task, picture = identifier(task_id), identifier(recognition_id)
    who = None if _is_signed(task, picture) else await principal()
    content = await context().pictures.annotated(task, picture, who)
    headers = {"Cache-Control": "private, max-age=3600", "Content-Disposition": "inline"}
    return tagged_response(content, "image/jpeg", headers)


def _is_signed(task_id: int, recognition_id: int) -> bool:
    """Whether this is a signed link of ours; raises Unauthenticated when it only looks like one."""
    expires, signature = request.args.get("expires", ""), request.args.get("signature", "")
    is_signed = context().pictures.is_signed(task_id, recognition_id, expires, signature)
    if not is_signed and (expires or signature) and "Authorization" not in request.headers:
        # Without authentication everybody may look, but a changed link must not pass for a good one.
        raise Unauthenticated("The link to the picture was changed or is over.")
    return is_signed
