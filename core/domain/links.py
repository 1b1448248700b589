"""Links to annotated pictures that are good without a key, for a while."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Makes and checks signed links; `public_url` has no slash at its end."""

    public_url: str
    key: bytes = field(repr=False)
    ttl_seconds: int

    def image(self, task_id: int, recognition_id: int, *, now: datetime) -> str:
        """The absolute link to a picture, signed and good for `ttl_seconds` from `now`."""
        expires = int(now.timestamp()) + self.ttl_seconds
        signature = self._signature(task_id, recognition_id, expires)
        path = image_path(task_id, recognition_id)
        return f"{self.public_url}{path}?expires={expires}&signature={signature}"

    def verify(
        self, task_id: int, recognition_id: int, expires: str, signature: str, *, now: datetime
    ) -> bool:
        """Whether a link's parts are ours and not over."""
        if not (expires.isascii() and expires.isdigit() and len(expires) <= 12):
            return False
        ours = self._signature(task_id, recognition_id, int(expires))
        is_ours = hmac.compare_digest(ours.encode(), signature.encode())
        return is_ours and int(expires) > now.timestamp()

    def absolute(self, path: str) -> str:
        """A path of this service as a full address."""
        return f"{self.public_url}{path}"

    def _signature(self, task_id: int, recognition_id: int, expires: int) -> str:
        message = f"{task_id}.{recognition_id}.{expires}".encode()
        return hmac.new(self.key, message, hashlib.sha256).hexdigest()[:32]


def image_path(task_id: int, recognition_id: int) -> str:
    """Where a picture is served."""
    return f"/v1/tasks/{task_id}/recognitions/{recognition_id}/image"
