"""Users of an MLflow server with authentication, by its own protocol."""

from dataclasses import dataclass, field

from podium.errors import UserError
from podium.wiring.clusters.http import ask, basic

UNKNOWN = 401


@dataclass(frozen=True)
class Account:
    """A user of MLflow."""

    name: str
    password: str = field(repr=False)

    @property
    def authorization(self) -> str:
        """The header by which it is known."""
        return basic(self.name, self.password)


def is_let_in(server: str, account: Account) -> bool:
    """Whether the server knows the user and the password.

    Raises:
        UserError: if it does not answer, or has no users.
    """
    status = _ask(server, "users/current", account)
    if status not in (200, UNKNOWN):
        raise UserError(f"the MLflow server {server} was asked for the user {account.name}, and answered {status}")
    return status == 200


def make_account(server: str, admin: Account, account: Account) -> None:
    """Makes a user.

    Raises:
        UserError: if the server refuses, as it does if there is one of that name.
    """
    status = _ask(server, "users/create", admin, {"username": account.name, "password": account.password})
    if status != 200:
        raise UserError(
            f"the MLflow server {server} does not make a user {account.name!r} (status {status}): if there is one, it "
            "has another password"
        )


def _ask(server: str, path: str, account: Account, body: dict[str, str] | None = None) -> int:
    try:
        return ask(f"{server}/api/2.0/mlflow/{path}", account.authorization, body).status
    except OSError as error:
        raise UserError(f"the MLflow server {server} does not answer: {error}") from error
