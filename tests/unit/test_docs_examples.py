"""The programs in the documents run as they stand there."""

from __future__ import annotations

import importlib
import runpy
import secrets
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from standardwebhooks import Webhook

from core.catalogue import build_recogniser, load_catalogue
from tests.support.documents import blocks
from tests.support.sources import ROOT


def written(tmp_path: Path, document: str, name: str) -> Path:
    """Write the first Python program of a document to a file."""
    file = tmp_path / name
    file.write_text(blocks(ROOT / document, "python")[0], encoding="utf-8")
    return file


def test_the_recogniser_of_the_readme_is_one_in_twenty_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, "README.md", "light.py")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()

    spec = load_catalogue(["light:LightRecogniser"]).find("light")
    assert spec is not None
    recogniser = build_recogniser(spec.path, {"threads": 1})
    recogniser.load()
    dark, bright = np.zeros((4, 6, 3), np.uint8), np.full((4, 6, 3), 200, np.uint8)

    assert [one.label for one in recogniser.recognise(dark, "ALL", 0.5)] == ["NIGHT"]
    assert [one.label for one in recogniser.recognise(bright, "ALL", 0.5)] == ["DAY"]
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 20


def test_the_receiver_of_the_guide_tells_a_true_callback_from_a_forged_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = f"whsec_{b64encode(secrets.token_bytes(32)).decode()}"
    file = written(tmp_path, "docs/webhooks.md", "receiver.py")
    file.write_text(file.read_text(encoding="utf-8").replace("whsec_...", secret), encoding="utf-8")
    receive: Any = runpy.run_path(str(file))["receive"]
    body = b'{"type":"task.completed","timestamp":"2026-11-23T01:39:49.101Z","data":{"id":"7","task_num":3}}'

    assert receive(signed(secret, body), body) == 204
    assert receive(signed(secret, body), body.replace(b"3}", b"4}")) == 401
    assert capsys.readouterr().out == "task.completed 7 3\n"


def signed(secret: str, body: bytes) -> dict[str, str]:
    """Give the headers of a callback that is sent now, signed by the standard's own package."""
    sent_at = datetime.now(UTC)
    return {
        "webhook-id": "1",
        "webhook-timestamp": str(int(sent_at.timestamp())),
        "webhook-signature": Webhook(secret).sign("1", sent_at, body.decode()),
    }
