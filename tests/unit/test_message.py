"""Messages in the queue say what was asked and come back as they were."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from core.domain.message import RecognitionMessage, TaskMessage
from core.domain.recognition import Recognition, RecognitionStatus
from core.domain.task import CallbackShape, Task, TaskStatus
from tests.support.tasks import some_recognition, some_task


def test_a_task_with_its_pictures_comes_back_as_it_was() -> None:
    task = some_task(shape=CallbackShape.ENVELOPE)

    assert TaskMessage.from_json(TaskMessage.of(task).to_json()).to_task() == task


def test_a_picture_comes_back_as_it_was() -> None:
    picture = some_recognition()

    assert RecognitionMessage.from_json(RecognitionMessage.of(picture).to_json()).to_recognition() == picture


def test_a_list_of_pictures_comes_back_in_order() -> None:
    pictures = tuple(some_recognition(position=position) for position in range(100))
    task = some_task(recognitions=pictures)

    assert TaskMessage.from_json(TaskMessage.of(task).to_json()).to_task().recognitions == pictures


def test_a_task_with_nothing_but_what_is_required_comes_back_as_it_was() -> None:
    task = Task(id=2**63 - 1, system_code="s", business_id="b", prompt="ALL")

    assert TaskMessage.from_json(TaskMessage.of(task).to_json()).to_task() == task


def test_enums_travel_by_name() -> None:
    task = some_task(TaskStatus.IN_PROGRESS, shape=CallbackShape.ENVELOPE)
    done = replace(some_recognition(), status=RecognitionStatus.COMPLETED)

    told = json.loads(TaskMessage.of(replace(task, recognitions=(done,))).to_json())

    assert told["status"] == "IN_PROGRESS"
    assert told["callback_shape"] == "ENVELOPE"
    assert told["recognitions"][0]["status"] == "COMPLETED"


def test_an_unknown_name_is_refused_and_the_known_ones_are_told() -> None:
    with pytest.raises(ValueError, match="PENDING, IN_PROGRESS"):
        TaskMessage.from_json(
            '{"id":1,"system_code":"s","business_id":"b","prompt":"ALL","status":"pending"}'
        )


def test_what_has_its_default_is_left_out() -> None:
    told = json.loads(TaskMessage.of(Task(id=1, system_code="s", business_id="b", prompt="ALL")).to_json())

    assert told == {"id": 1, "system_code": "s", "business_id": "b", "prompt": "ALL"}


def test_a_message_of_a_later_version_is_still_read() -> None:
    text = '{"id":1,"system_code":"s","business_id":"b","prompt":"ALL","colour":"red"}'

    assert TaskMessage.from_json(text).to_task().id == 1


def test_claims_and_keys_do_not_travel() -> None:
    task = replace(some_task(), worker_id="w", idempotency_key="k", client_id="c", request_sha256="0" * 64)

    told = json.loads(TaskMessage.of(task).to_json())

    assert not {"worker_id", "claim_token", "idempotency_key", "client_id", "request_sha256"} & told.keys()


def test_a_usual_task_is_small_enough_for_the_queue() -> None:
    assert len(TaskMessage.of(some_task()).to_json().encode()) < 4096


def test_findings_stay_in_the_row() -> None:
    picture: Recognition = some_recognition()

    assert RecognitionMessage.of(picture).to_recognition().findings is None
