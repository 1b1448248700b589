"""Every Lua file says truly what it uses: the keys by name, ARGV and what it returns."""

from __future__ import annotations

import re

import pytest

from core.queue.keys import SCRIPT_KEYS, QueueKeys
from core.queue.scripts import NAMES, load_sources, read_source

_HEADER = re.compile(
    r"\A-- (?P<purpose>\S.*\.(?: Batch\.| Read-only\.| Read-only, batch\.)?)\n"
    r"-- KEYS     (?P<keys>\S.*(?:\n--          .*)*)\n"
    r"-- ARGV     (?P<argv>\S.*(?:\n--          .*)*)\n"
    r"-- Returns  (?P<returns>\S.*(?:\n--          .*)*)\n"
)
_SHARED_FUNCTION = re.compile(r"^local function (\w+)\(.*?^end$", re.M | re.S)


def _used(text: str) -> set[str]:
    """Name the keys that a piece of Lua uses itself."""
    code = re.sub(r"--.*", "", text)
    return {name for name in SCRIPT_KEYS if re.search(rf"\b{name.upper()}\b", code)}


def _shared_uses() -> dict[str, set[str]]:
    """Name the keys that each shared function uses, also through other ones."""
    bodies = {match[1]: match[0] for match in _SHARED_FUNCTION.finditer(read_source("_shared"))}
    uses: dict[str, set[str]] = {}
    for name, body in bodies.items():  # a local function can only call those above it
        called = [other for other in uses if re.search(rf"\b{other}\(", body)]
        uses[name] = _used(body).union(*(uses[other] for other in called))
    return uses


def _keys_used(name: str) -> set[str]:
    body = re.sub(r"--.*", "", read_source(name))
    shared = (keys for function, keys in _shared_uses().items() if re.search(rf"\b{function}\(", body))
    return _used(body).union(*shared)


@pytest.mark.parametrize("name", ["_shared", *NAMES])
def test_a_script_begins_with_its_header(name: str) -> None:
    assert _HEADER.match(read_source(name)), f"{name}.lua: purpose, KEYS, ARGV, Returns"


@pytest.mark.parametrize("name", NAMES)
def test_a_header_names_exactly_the_keys_that_are_used(name: str) -> None:
    header = _HEADER.match(read_source(name))
    assert header
    named = header["keys"].split()
    assert named == [key for key in SCRIPT_KEYS if key in _keys_used(name)]


@pytest.mark.parametrize("name", NAMES)
def test_a_header_describes_arguments_where_there_are_some(name: str) -> None:
    header = _HEADER.match(read_source(name))
    assert header
    uses_arguments = re.search(r"\bARGV\b", re.sub(r"--.*", "", read_source(name)))
    assert (header["argv"] != "nothing") == bool(uses_arguments)


def test_the_shared_names_are_the_keys_in_their_order() -> None:
    shared = read_source("_shared")
    header = _HEADER.match(shared)
    assert header
    assert header["keys"].splitlines()[0].split() == list(SCRIPT_KEYS)
    assigned = re.findall(r"^local ([A-Z, ]+) = (KEYS\[.*)$", shared, re.M)
    names = [name for left, _ in assigned for name in left.split(", ")]
    numbers = [int(number) for _, right in assigned for number in re.findall(r"KEYS\[(\d+)\]", right)]
    assert names == [name.upper() for name in SCRIPT_KEYS]
    assert numbers == list(range(1, len(SCRIPT_KEYS) + 1))


@pytest.mark.parametrize("name", NAMES)
def test_only_the_shared_part_knows_the_numbers_of_keys_and_the_clock(name: str) -> None:
    assert not re.search(r"\bKEYS\[", read_source(name))
    assert "'TIME'" not in read_source(name)
    assert load_sources()[name].count("redis.call('TIME')") == 1


def test_no_score_is_built_by_joining_strings() -> None:
    for name in ("_shared", *NAMES):
        for call in re.findall(r"redis\.call\('ZADD', *([^\n]*)\)", read_source(name)):
            key, *scores = call.split(", ")
            assert key.startswith(("READY", "DELAYED", "LEASED", "HELD", "FLOW", "PARKED"))
            assert not any(".." in score for score in scores)


def test_all_keys_of_a_queue_share_one_hash_tag() -> None:
    keys = QueueKeys(queue="recognition", namespace="ours")
    passed = keys.for_scripts()
    assert len(passed) == len(SCRIPT_KEYS)
    assert all(key.startswith("ours:{recognition}:") for key in (*passed, keys.events))
    assert keys.flow(5).startswith(passed[SCRIPT_KEYS.index("flow")])
    assert keys.parked("a:b").startswith(passed[SCRIPT_KEYS.index("parked")])
