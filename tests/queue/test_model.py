"""The scripts against the model, at random: several workers, every transition, fair order included."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.queue_bench import QueueBench, sources_under_test
from tests.support.queue_machine import machine_for
from tests.support.valkey import PrivateValkey

EXAMPLES = int(os.environ.get("MUSTER_HYPOTHESIS_EXAMPLES", "200"))


@pytest.mark.timeout(120 + EXAMPLES)
def test_every_interleaving_does_what_the_model_does(valkey: PrivateValkey) -> None:
    with QueueBench(valkey, sources_under_test()) as bench:
        run_state_machine_as_test(
            machine_for(bench),
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=50,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
