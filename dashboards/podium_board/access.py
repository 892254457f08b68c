"""Access: who may steer, told by a token that the board's terminal shows once, and by which name they are known.

The token is traded for a cookie that no script and no other site can use. Cookies do not know ports, so that a page of
another server on this machine could send requests with it: whoever changes anything has to come from a page of ours.
"""

import hmac
import secrets
from urllib.parse import parse_qsl, quote, unquote, urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from podium.tracking.provenance import user

TOKEN = "token"  # noqa: S105
"""What the token is called in an address."""

FORM = "application/x-www-form-urlencoded"

MOST_BYTES = 65_536
"""Of a form."""

MOST_NAME = 60
"""Characters of a name."""

MOST_NOTES = 100
"""So many answers to requests are kept for the pages that show them."""

YEAR_S = 365 * 86_400

READ_ONLY = "This board only shows. To steer by it, end it and start it with `podium board --steer`."
UNKNOWN = (
    "Whoever steers needs the address with the token that the board has written to its terminal. If you had been let "
    "in, the board was started anew since; take the new address."
)


class Access:
    """Lets those in who have the token.

    Args:
        token: What they need; empty for a board that only shows.
    """

    def __init__(self, token: str = "") -> None:
        self._token = token
        self._pass = secrets.token_urlsafe(32)
        self._notes: dict[str, str] = {}

    @property
    def is_open(self) -> bool:
        """Whether anybody may steer."""
        return bool(self._token)

    def is_known(self, request: Request) -> bool:
        """Whether a request may steer."""
        return bool(self._token) and _is_same(request.cookies.get(_cookie(request, "pass"), ""), self._pass)

    def enter(self, request: Request) -> Response | None:
        """Trades the token in an address for the cookie, and takes it out of the address; None if it is another one."""
        if not self._token or not _is_same(request.query_params.get(TOKEN, ""), self._token):
            return None
        kept = [(key, value) for key, value in request.query_params.multi_items() if key != TOKEN]
        answer = RedirectResponse(request.url.path + (f"?{urlencode(kept)}" if kept else ""), 303)
        answer.set_cookie(_cookie(request, "pass"), self._pass, httponly=True, samesite="strict")
        return answer

    def refusal(self, request: Request) -> str:
        """Why a request may change nothing, in words; empty if it may."""
        if not self._token:
            return READ_ONLY
        if not self.is_known(request):
            return UNKNOWN
        origin, own = request.headers.get("origin"), f"http://{request.headers.get('host', '')}"
        if origin != own or request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return f"What changes something has to come from a page of this board, {own}, and not from {origin}."
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
            return f"Requests are forms of a page of this board, {FORM}."
        return ""

    # who steers

    def name(self, request: Request) -> str:
        """In whose name a request is: as its user has told, else the user who runs the board."""
        return _clean(unquote(request.cookies.get(_cookie(request, "name"), ""))) or user()

    def rename(self, request: Request, answer: Response, name: str) -> None:
        """Has the browser remember a name."""
        cookie = _cookie(request, "name")
        answer.set_cookie(cookie, quote(_clean(name)), max_age=YEAR_S, httponly=True, samesite="strict")

    # what came of requests

    def note(self, text: str) -> str:
        """Keeps an answer until its page shows it; returns what it is found by."""
        key = secrets.token_urlsafe(8)
        self._notes[key] = text
        while len(self._notes) > MOST_NOTES:
            self._notes.pop(next(iter(self._notes)))
        return key

    def noted(self, request: Request) -> str:
        """The answer that a page is to show; empty if there is none."""
        return self._notes.get(request.query_params.get("note", ""), "")


def make_token() -> str:
    """A token that nobody guesses."""
    return secrets.token_urlsafe(32)


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form.

    Raises:
        HTTPException: if it is none, or too large.
    """
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BYTES:
            raise HTTPException(413, f"A form has {MOST_BYTES:,} bytes at most.")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=1000))
    except ValueError:
        raise HTTPException(400, "That is no form.") from None


def _is_same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _cookie(request: Request, what: str) -> str:
    """The name of a cookie: boards at several ports of one machine keep theirs apart."""
    return f"podium-{what}-{request.url.port or 80}"


def _clean(name: str) -> str:
    """A name as it may be shown: one line, not too long."""
    return "".join(each for each in name if each.isprintable()).strip()[:MOST_NAME].strip()
