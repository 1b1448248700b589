"""Fill the generated parts of README.md and docs/ from the code: `python -m scripts.generate_docs`.

A generated part stands between `<!-- generated: name -->` and `<!-- end: name -->`. A test holds
that every part is what this module would write.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase

from app.cli.settings_table import as_markdown, setting_groups
from app.openapi.document import codes
from app.problems import answer_to
from core import errors, metrics
from core.catalogue import BUILT_IN, describe
from core.domain.task import TRANSITIONS, TaskStatus
from core.errors import CallerError, DeliveryError, MusterError, PictureError, Unavailable

ROOT = Path(__file__).resolve().parents[1]
_PART = re.compile(r"<!-- generated: (?P<name>[a-z-]+) -->\n.*?<!-- end: (?P=name) -->\n", re.DOTALL)


def documents() -> list[Path]:
    """Every Markdown file whose parts may be generated."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def filled(text: str) -> str:
    """The text with all its generated parts up to date; raises KeyError for a part nobody makes."""

    def fill(part: re.Match[str]) -> str:
        name = part["name"]
        return f"<!-- generated: {name} -->\n{PARTS[name]()}<!-- end: {name} -->\n"

    return _PART.sub(fill, text)


def state_diagram() -> str:
    """The states of a task as a mermaid drawing, one arrow for each pair of states and reason."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> pending: accepted"]
    lines += [
        f"    {source} --> {target}: {reasons}" for source, target, reasons in _arrows() if source != target
    ]
    lines += [f"    {status.value} --> [*]" for status in TaskStatus if status.is_final]
    return "\n".join([*lines, "```"]) + "\n"


def _arrows() -> Iterator[tuple[str, str, str]]:
    reasons: dict[tuple[str, str], list[str]] = {}
    for change in TRANSITIONS:
        told = reasons.setdefault((change.source.value, change.target.value), [])
        if change.why not in told:
            told.append(change.why)
    for (source, target), why in reasons.items():
        yield source, target, " / ".join(why)


def state_table() -> str:
    """Every allowed change of a task's state with its guard."""
    rows = [
        (
            f"`{change.source.value}`",
            f"`{change.target.value}`",
            ", ".join(sorted(actor.value for actor in change.actors)),
            change.guard,
            change.why,
        )
        for change in TRANSITIONS
    ]
    return _table(("from", "to", "who", "only if the row says", "because"), rows)


def answer_codes() -> str:
    """The codes of refused and failed requests."""
    answered = set(codes())
    rows = [
        (str(answer_to(kind).status), f"`{kind.code}`", _meaning(kind))
        for kind in _kinds(CallerError, Unavailable)
        if kind.code in answered and answer_to(kind).status != 500
    ]
    return _table(("status", "code", "meaning"), sorted(rows))


def picture_codes() -> str:
    """The codes of pictures that failed."""
    rows = [(f"`{kind.code}`", _meaning(kind), _again(kind)) for kind in _kinds(PictureError)]
    return _table(("code", "meaning", "tried again"), rows)


def callback_codes() -> str:
    """The codes of callbacks whose POST got no answer."""
    rows = [
        (f"`{kind.code}`", _meaning(kind), "yes" if kind.retryable else "no")
        for kind in _kinds(DeliveryError)
    ]
    return _table(("code", "meaning", "tried again"), rows)


def _again(kind: type[MusterError]) -> str:
    if issubclass(kind, errors.FetchStatus):
        numbers = ", ".join(str(status) for status in sorted(kind.RETRYABLE_STATUSES))
        return f"{numbers} and 5xx only"
    return "yes" if kind.retryable else "no"


def _kinds(*roots: type[MusterError]) -> list[type[MusterError]]:
    """The errors with a code of their own below the roots, in the order of their names."""
    found = (getattr(errors, name) for name in errors.__all__ if name != "Fault")
    return [kind for kind in found if issubclass(kind, roots) and "code" in vars(kind)]


def _meaning(kind: type[MusterError]) -> str:
    return (kind.__doc__ or "").strip().splitlines()[0]


def models() -> str:
    """The recognisers that are built in."""
    specs = [describe(path, {}) for path in BUILT_IN]
    rows = [
        (
            f"`{spec.name}`",
            ", ".join(f"`{prompt}`" for prompt in spec.prompts),
            f"{spec.default_min_score:g}",
            f"`{spec.path}`",
        )
        for spec in specs
    ]
    return _table(("model", "prompts", "default `min_score`", "class"), rows)


def metric_table() -> str:
    """Every number that Prometheus can scrape."""
    rows = []
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            for told in metric.describe():
                name = f"{told.name}_total" if told.type == "counter" else told.name
                rows.append((f"`{name}`", told.type, told.documentation))
    return _table(("metric", "type", "meaning"), rows)


def _table(heading: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [heading, tuple("---" for _ in heading), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


PARTS: dict[str, Callable[[], str]] = {
    "settings": lambda: as_markdown(setting_groups()),
    "state-diagram": state_diagram,
    "state-table": state_table,
    "answer-codes": answer_codes,
    "picture-codes": picture_codes,
    "callback-codes": callback_codes,
    "models": models,
    "metrics": metric_table,
}


def main() -> None:
    """Write every document whose generated parts are out of date."""
    for path in documents():
        text = path.read_text(encoding="utf-8")
        if (fresh := filled(text)) != text:
            path.write_text(fresh, encoding="utf-8")


if __name__ == "__main__":
    main()
