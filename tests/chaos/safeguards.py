"""The safeguards that every promise stands on: how each is taken out, and which run must miss it."""

from __future__ import annotations

from dataclasses import dataclass

_MODEL = ("pytest", "-q", "-x", "tests/queue/test_model.py")
_LOSSES = ("pytest", "-q", "-x", "tests/queue/test_repairs.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A piece of a file and what takes its place; it stands there exactly once."""

    path: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Safeguard:
    """What is taken out by which edits, and the module with arguments that must go red then."""

    name: str
    what: str
    command: tuple[str, ...]
    edits: tuple[Edit, ...]


def _chaos(*arguments: str) -> tuple[str, ...]:
    return ("tests.chaos", "--seed", "1", "--poison", "0", "--quiet", "40", *arguments)


_ZOMBIES = _chaos(
    "--only", "zombie", "--tasks", "150", "--seconds", "30", "--every", "3", "--dawdling", "0.5"
)  # fmt: skip
_DEATHS = _chaos(
    "--only", "database_kill", "--tasks", "1200", "--seconds", "36", "--every", "3", "--dawdling", "0"
)  # fmt: skip
_FLUSHES = _chaos("--only", "flush", "--tasks", "100", "--seconds", "12")
_NO_EPOCH = Edit(
    path="core/queue/lease.py",
    before="        if not self.epoch:\n",
    after="        if False:\n",
)

SAFEGUARDS = (
    Safeguard(
        name="settle-token",
        what="settle asks for the claim token",
        command=_MODEL,
        edits=(
            Edit(
                path="core/queue/lua/settle.lua",
                before="if redis.call('HGET', OWNER, member) ~= token then",
                after="if not redis.call('HGET', OWNER, member) then",
            ),
        ),
    ),
    Safeguard(
        name="result-fence",
        what="a result is written only under the row's own attempt, claim token and state",
        command=_ZOMBIES,
        edits=(
            Edit(
                path="core/store/attempts.py",
                before="""    task.c.attempt == bindparam("my_attempt"),
    task.c.claim_token == bindparam("my_token"),
    task.c.status == TaskStatus.IN_PROGRESS,
""",
                after="""    bindparam("my_attempt") == bindparam("my_attempt"),
    bindparam("my_token") == bindparam("my_token"),
""",
            ),
        ),
    ),
    Safeguard(
        name="delivery-in-transaction",
        what="the promise to call back is in the transaction of the result (here: in the next one)",
        command=_DEATHS,
        edits=(
            Edit(
                path="core/store/recorder.py",
                before="        return await self._db.write(partial(self._record, entries, spare))\n",
                after="""        written = await self._db.write(partial(self._record, entries, spare))
        ledger = Ledger(promises=self._promises, at=await self._db.now(), spare_ids=[])
        for one in written:
            if isinstance(one, Written):
                ledger.deliveries += one.deliveries
        await self._db.write(ledger.write)
        return written
""",
            ),
            Edit(
                path="core/store/recorder.py",
                before="        await ledger.write(connection)\n",
                after="        ledger.deliveries = []\n        await ledger.write(connection)\n",
            ),
        ),
    ),
    Safeguard(
        name="epoch",
        what="a queue without an epoch is a lost plan (alone: the server's run id still tells)",
        command=_LOSSES,
        edits=(_NO_EPOCH,),
    ),
    Safeguard(
        name="lost-plan",
        what="a missing epoch, another server and a count that went back are a lost plan",
        command=_FLUSHES,
        edits=(
            _NO_EPOCH,
            Edit(
                path="core/queue/lease.py",
                before="        if self.run_id and self.rebuilt_on != self.run_id:\n",
                after="        if False:\n",
            ),
            Edit(
                path="core/queue/lease.py",
                before="        if last is not None and self.beat <= last.beat and",
                after="        if False and last is not None and",
            ),
        ),
    ),
)
