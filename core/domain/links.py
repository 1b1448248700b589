"""Links to annotated pictures that are good for a while without a key."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime

_DIGEST_CHARS = 64


def task_path(task_id: int) -> str:
    """Where a task is read."""
    return f"/v1/tasks/{task_id}"


def image_path(task_id: int, recognition_id: int) -> str:
    """Where an annotated picture is read."""
    return f"{task_path(task_id)}/recognitions/{recognition_id}/image"


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Makes absolute links under one address and knows its own signatures again."""

    public_url: str
    """The address that callers see, without a slash at its end; empty = links stay relative."""
    key: bytes = field(repr=False)
    ttl_seconds: int
    """How long a signed link is good."""

    def absolute(self, path: str) -> str:
        """A path under the public address."""
        return f"{self.public_url}{path}"

    def image(self, task_id: int, recognition_id: int, *, now: datetime) -> str:
        """A signed link to an annotated picture, good for `ttl_seconds` from `now`."""
        expires = int(now.timestamp()) + self.ttl_seconds
        signature = self._sign(task_id, recognition_id, expires)
        path = image_path(task_id, recognition_id)
        return self.absolute(f"{path}?expires={expires}&signature={signature}")

    def verify(
        self, task_id: int, recognition_id: int, expires: int, signature: str, *, now: datetime
    ) -> bool:
        """Tell whether the link is one of ours, for this picture, and still good."""
        if expires <= now.timestamp() or len(signature) != _DIGEST_CHARS or not signature.isascii():
            return False
        return hmac.compare_digest(self._sign(task_id, recognition_id, expires), signature)

    def _sign(self, task_id: int, recognition_id: int, expires: int) -> str:
        text = f"image\n{task_id}\n{recognition_id}\n{expires}"
        return hmac.new(self.key, text.encode(), hashlib.sha256).hexdigest()
