"""A dask.distributed scheduler that is there already, to prepare data with."""

# mypy: allow-untyped-calls

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from podium.errors import UserError

ANSWER_S = 10
"""How long a scheduler may take to answer."""


@contextmanager
def joined(address: str) -> Iterator[Callable[..., Any]]:
    """What carries out Dask's graphs on the workers of the scheduler at `address`, for as long as the block lasts.

    Raises:
        UserError: if there is none, or the package is not installed.
    """
    try:
        from distributed import Client
    except ImportError:
        raise UserError(
            f"data.dask is {address!r}, and dask.distributed is not installed; run: pip install 'podium[distributed]'"
        ) from None
    try:
        client = Client(address, timeout=ANSWER_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UserError(
            f"there is no Dask scheduler at data.dask, {address!r}: {error}; start one with `dask scheduler`, or write "
            "data.dask: threads"
        ) from None
    with client:
        yield client.get
