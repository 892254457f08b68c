"""The model card as a page: one HTML file that loads nothing and runs nothing. Pure."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from podium.registry.card import pictures, words
from podium.registry.card.parts import Block, Curves, Figures, Forest, Outcome, Points, Section, Table, Text

STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""What a browser is to allow the page: nothing that it does not hold."""


def page(
    title: str,
    verdict: Outcome,
    lead: str,
    reasons: Sequence[str],
    sections: Sequence[Section],
    shown: Mapping[str, bytes],
) -> str:
    """A whole page; `shown` are PNG pictures by title."""
    parts = [
        f'<header class="{escape(verdict.name)}"><h1>{_clean(title)}</h1>{_outcome(verdict)}',
        f'<p class="lead">{_clean(lead)}</p>{_block(Points(reasons)) if reasons else ""}</header>',
    ]
    for section in sections:
        parts.append(f"<section><h2>{_clean(section.title)}</h2>{''.join(map(_block, section.blocks))}</section>")
    if shown:
        figures = "".join(_picture(name, content) for name, content in shown.items())
        parts.append(f"<section><h2>Pictures</h2>{figures}</section>")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{_clean(title)}: {_clean(verdict.name)}</title><style>{STYLE}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _block(block: Block) -> str:
    match block:
        case Text(text):
            return f"<p>{_clean(text)}</p>"
        case Points(items):
            return f"<ul>{''.join(f'<li>{_clean(item)}</li>' for item in items)}</ul>"
        case Figures(figures):
            return f'<dl class="figures">{"".join(_figure(*figure) for figure in figures)}</dl>'
        case Table():
            return _table(block)
        case Forest():
            return _forest(block)
        case Curves():
            return _curves(block)


def _figure(name: str, value: str, note: str) -> str:
    about = f'<dd class="note">{_clean(note)}</dd>' if note else ""
    return f'<div><dt>{_clean(name)}</dt><dd class="value">{_clean(value)}</dd>{about}</div>'


def _table(table: Table) -> str:
    head = "".join(f"<th>{_clean(cell)}</th>" for cell in table.head) if any(table.head) else ""
    rows = ("".join(f"<td>{_cell(cell)}</td>" for cell in row) for row in table.rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(f'<tr>{row}</tr>' for row in rows)}</tbody></table>"


def _forest(forest: Forest) -> str:
    scale = pictures.scale_of(forest)
    label, text = map(_clean, forest.head)
    axis = pictures.axis(scale, forest.is_share, is_signed=forest.sides is not None)
    cells = [f'<div class="head">{label}</div><div class="head"></div><div class="head">{text}</div>']
    for row in forest.rows:
        bar = pictures.bar(scale, row.marks, forest.lines, f"{row.label}: {'; '.join(row.texts)}")
        texts = "".join(f"<div>{_clean(text)}</div>" for text in row.texts)
        cells.append(
            f'<div class="label">{_clean(row.label)}<span class="note">{_clean(row.note)}</span></div>'
            f'<div>{bar}</div><div class="text">{texts}</div>'
        )
    sides = "".join(f"<span>{_clean(side)}</span>" for side in forest.sides or ())
    cells.append(f'<div></div><div>{axis}<div class="sides">{sides}</div></div><div></div>')
    return f'{_legend(forest)}<div class="forest">{"".join(cells)}</div>'


def _curves(curves: Curves) -> str:
    scale = pictures.scale_of_curves(curves)
    parts = []
    for panel in curves.panels:
        drawn = pictures.panel(curves, panel, scale, f"{panel.title}, {curves.metric} by epoch")
        kind = "chosen" if panel.is_chosen else "plain"
        parts.append(f'<figure class="{kind}"><figcaption>{_clean(panel.title)}</figcaption>{drawn}</figure>')
    unit = ", in percent" if curves.is_share else ""
    about = (
        f"{curves.metric} by epoch{unit}: a line for each seed; at the right, what was confirmed and reported. "
        "The first epochs may lie outside of the pictures."
    )
    return f'<p>{_clean(about)}</p><div class="panels">{"".join(parts)}</div>'


def _legend(forest: Forest) -> str:
    keys = [(pictures.key(kind), name) for kind, name in forest.legend]
    keys += [(pictures.key_of_line(index), name) for index, (_, name) in enumerate(forest.lines)]
    return f'<div class="legend">{"".join(f"<span>{key}{_clean(name)}</span>" for key, name in keys)}</div>'


def _picture(name: str, content: bytes) -> str:
    title = _clean(name.replace("_", " "))
    source = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return f'<figure><figcaption>{title}</figcaption><img alt="{title}" src="{source}"></figure>'


def _cell(cell: str | Outcome) -> str:
    return _outcome(cell) if isinstance(cell, Outcome) else _clean(cell)


def _outcome(outcome: Outcome) -> str:
    return f'<span class="outcome {escape(outcome.name)}">{_clean(str(outcome))}</span>'


def _clean(text: str) -> str:
    return escape(words.plain(text)).replace(" %", "&nbsp;%")
