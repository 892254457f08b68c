"""The model card of a promotion: what was decided and why, for people, as Markdown and as a page. Pure.

The evidence is plain JSON data, as the ledger's event `Judged` keeps it. What is not known of it, absent or null, is
said in words. (Mitchell et al., "Model cards for model reporting", 2019, arXiv:1810.03993.)
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from podium.registry.card import words
from podium.registry.card.background import background
from podium.registry.card.findings import findings
from podium.registry.card.page import page
from podium.registry.card.parts import Block, Curves, Figures, Forest, Outcome, Points, Section, Table, Text
from podium.registry.card.words import sentence

SUMMARY_LIMIT = 5_000
"""Characters that MLflow takes as the description of a model's version."""

MOST, MOST_IN_SUMMARY = 20, 5
"""How many finalists, slices and reasons are shown; the rest is counted."""

_FIRST = (
    "At a glance",
    "Gates",
    "Comparison",
    "What this card does not say",
    "Finalists",
    "Where it comes from",
    "Slices",
    "Data",
)
"""How the titles begin of what a summary has, as far as it fits; the others come after."""

_WHOLE = "\nThe whole card, with its pictures, is attached to this version.\n"
_SPECIAL = re.compile(r"([\\`*_{}\[\]#|~])")

__all__ = ["SUMMARY_LIMIT", "html", "markdown", "sentence", "summary"]


def summary(evidence: Mapping[str, Any]) -> str:
    """The card in short, as Markdown of fewer than `SUMMARY_LIMIT` characters, for the model version's description."""
    text = _top(evidence, MOST_IN_SUMMARY)[: SUMMARY_LIMIT - len(_WHOLE) - 1]
    for section in sorted([*findings(evidence, MOST_IN_SUMMARY), *background(evidence)], key=_importance):
        more = f"\n{_section(section)}"
        if len(text) + len(more) + len(_WHOLE) < SUMMARY_LIMIT:
            text += more
    return text + _WHOLE


def _importance(section: Section) -> int:
    return next((place for place, title in enumerate(_FIRST) if section.title.startswith(title)), len(_FIRST))


def markdown(evidence: Mapping[str, Any]) -> str:
    """The whole card as Markdown, without its pictures."""
    sections = [*findings(evidence, MOST), *background(evidence)]
    return "\n".join([_top(evidence, MOST), *map(_section, sections)])


def html(evidence: Mapping[str, Any], pictures: Mapping[str, bytes] | None = None) -> str:
    """The whole card as one page that loads nothing and runs nothing, for narrow and wide screens and for paper.

    Args:
        evidence: What the promotion has found.
        pictures: PNG files by title, such as `confusion_matrix`.
    """
    sections = [*findings(evidence, MOST), *background(evidence)]
    verdict = Outcome(str(evidence["verdict"]))
    return page(_title(evidence), verdict, sentence(evidence), _reasons(evidence, MOST), sections, pictures or {})


def _title(evidence: Mapping[str, Any]) -> str:
    return f"{evidence['model']}, version {evidence['version']}"


def _reasons(evidence: Mapping[str, Any], most: int) -> list[str]:
    reasons = [str(reason) for reason in evidence.get("reasons") or ()]
    more = [f"and {len(reasons) - most} more"] if len(reasons) > most else []
    return reasons[:most] + more


def _top(evidence: Mapping[str, Any], most: int) -> str:
    verdict = f"**{_clean(str(Outcome(str(evidence['verdict']))))}**"
    reasons = _block(Points(_reasons(evidence, most)))
    return f"# {_clean(_title(evidence))}\n\n{verdict}. {_clean(sentence(evidence))}\n\n{reasons}"


def _section(section: Section) -> str:
    return f"## {_clean(section.title)}\n\n" + "\n".join(filter(None, map(_block, section.blocks)))


def _block(block: Block) -> str:
    match block:
        case Text(text):
            return f"{_clean(text)}\n"
        case Points(items):
            return "".join(f"- {_clean(item)}\n" for item in items)
        case Figures(figures):
            return _table(("", "", ""), figures)
        case Table(head, rows):
            return _table(head, rows)
        case Forest():
            return _table((*block.head, ""), [(row.label, "; ".join(row.texts), row.note) for row in block.rows])
        case Curves():
            return ""


def _table(head: Sequence[str], rows: Iterator[Sequence[str | Outcome]] | Sequence[Sequence[str | Outcome]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(
        f"| {' | '.join(_clean(str(cell)) if line is not lines[1] else cell for cell in line)} |\n" for line in lines
    )


def _clean(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", escape(words.plain(text), quote=False))
