"""The page of promotions: what was wanted, what was found and on what evidence, and who the champions were."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from podium.ledger import Book
from podium.ledger.book import Row
from podium.sweep.messages import Crowned, Crowning, Judged, Promoting
from podium.wiring.champions import ledger_of
from podium_board.pages import board_of, fragment, page, render
from podium_board.reading import LIST, Board


@dataclass(frozen=True)
class Promotion:
    """One promotion; `judged` holds its verdicts, the last one last, none as long as there is none."""

    name: str
    at: float
    promoting: Promoting
    state: str
    judged: Sequence[tuple[float, Judged]]

    @property
    def verdict(self) -> str:
        """What was found last; how its sweep stands before."""
        return self.judged[-1][1].verdict if self.judged else self.state


@dataclass
class Model:
    """A registered model: its promotions, the newest first, and the moves of its alias, the oldest first."""

    name: str
    promotions: list[Promotion] = field(default_factory=list)
    crownings: list[tuple[float, Crowning]] = field(default_factory=list)

    @property
    def champion(self) -> str:
        """The version in force; empty if there is none."""
        return self.crownings[-1][1].version if self.crownings else ""


def show(request: Request) -> Response:
    """The page."""
    return page(request, "promotions.html", watched=LIST, models=_models(board_of(request)))


def listing(request: Request) -> Response:
    """What is in it alone."""
    return fragment(request, render("promotions_list.html", models=_models(board_of(request))))


def _models(board: Board) -> list[Model]:
    """All models that anybody wanted to promote anything for, by name."""
    models: dict[str, Model] = {}
    pictures = board.look_at_all()
    rows: dict[str, list[Row]] = {}
    for name in reversed(board.book.sweeps()):
        found = _promoting(board.book, name)
        if found is None:
            continue
        at, promoting = found
        model = models.setdefault(promoting.model, Model(promoting.model))
        if promoting.model not in rows:
            rows[promoting.model] = list(board.book.rows(ledger_of(promoting.model)))
        judged = [
            (row.at, row.event)
            for row in rows[promoting.model]
            if isinstance(row.event, Judged) and row.event.promotion == name
        ]
        state = pictures[name].summary["state"] if name in pictures else "being read"
        model.promotions.append(Promotion(name, at, promoting, state, judged))
    for name, model in models.items():
        model.crownings = _moves(rows[name])
    return [models[name] for name in sorted(models)]


def _moves(rows: Sequence[Row]) -> list[tuple[float, Crowning]]:
    """The moves of an alias that were made, and not only begun."""
    made: list[tuple[float, Crowning]] = []
    begun: Crowning | None = None
    for row in rows:
        if isinstance(row.event, Crowning):
            begun = row.event
        elif isinstance(row.event, Crowned) and begun is not None:
            made.append((row.at, begun))
            begun = None
    return made


def _promoting(book: Book, name: str) -> tuple[float, Promoting] | None:
    """When a sweep began to promote, and what; None if it is no promotion: that is noted right after the launch."""
    for row in book.rows(name, most=2):
        if isinstance(row.event, Promoting):
            return row.at, row.event
    return None


ROUTES = [Route("/promotions", show), Route("/parts/promotions", listing)]
