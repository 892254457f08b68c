"""Where a sweep lives: home, store, tracking server and cluster, with their defaults."""

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from podium.errors import UserError
from podium.folders import fetch
from podium.store import local_path, refuse_password, require_usable

if TYPE_CHECKING:
    from podium.ledger import Book


@dataclass(frozen=True)
class Place:
    """The addresses of one user's Podium.

    Attributes:
        home: This machine's state: ledger and runs.
        store: Where every host finds shards, task code, checkpoints, artifacts and logs: a path or an fsspec address.
        tracking_uri: The MLflow server, or a database in the home.
        cluster: `inline` (this process), `local` (a Ray of our own) or the address of a running Ray.
        ledger: The database of the ledger, as SQLAlchemy writes addresses; it may hold a password.
        metrics: Where a driver tells Prometheus how its sweep goes, as `podium.wiring.endpoint` reads it; or empty.
    """

    home: Path
    store: str
    tracking_uri: str
    cluster: str
    ledger: str
    metrics: str = ""

    @classmethod
    def of(
        cls,
        home: str | Path | None = None,
        store: str | None = None,
        tracking_uri: str | None = None,
        cluster: str | None = None,
        ledger: str | None = None,
    ) -> "Place":
        """Fills in what is not given: `PODIUM_HOME` or `.podium`, `PODIUM_STORE` or the home, SQLite in the home.

        Raises:
            UserError: if the store's address holds a password.
        """
        store = store or os.environ.get("PODIUM_STORE") or None
        refuse_password(store or "")
        folder = Path(home or os.environ.get("PODIUM_HOME") or ".podium").expanduser().resolve()
        return cls(
            home=folder,
            store=store if store and "://" in store else str(Path(store or folder).expanduser().resolve()),
            tracking_uri=tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder / 'mlflow.db'}",
            cluster=cluster or os.environ.get("PODIUM_CLUSTER") or "local",
            ledger=ledger or os.environ.get("PODIUM_LEDGER") or f"sqlite:///{folder / 'ledger.db'}",
            metrics=os.environ.get("PODIUM_METRICS") or "",
        )

    def fetch(self, name: str) -> Path:
        """The path on this host of a folder of the store that never changes.

        Raises:
            UserError: if the store does not have it whole.
            StorageFault: if the store cannot be read.
        """
        return fetch(self.store, name, self.cache)

    def book(self) -> "Book":
        """The ledger of all sweeps here.

        Raises:
            UserError: if there cannot be one, or something else is in its place.
            StorageFault: if its database does not answer.
        """
        from podium.ledger import Book  # a database's library is no matter of `--help` and completion

        try:
            return Book(self.ledger)
        except OSError as error:
            raise _unusable("--home", self.home, error) from error

    def require_writable(self) -> None:
        """Makes home and store, and writes into both, before anything else is done there.

        Raises:
            UserError: if either cannot be written, or the store not read.
        """
        _require_writable("--home", self.home)
        folder = local_path(self.store, "")
        if folder is None:
            require_usable(self.store)
        else:
            _require_writable("--store", folder)

    @property
    def is_on_one_host(self) -> bool:
        """Whether ledger or runs are files of the home, which other hosts cannot use."""
        return not self.ledger.startswith("postgresql") or self.tracking_uri.startswith("sqlite")

    @property
    def cache(self) -> Path:
        """Where this host keeps what it fetched from a store at an address; other hosts make a folder of this name."""
        return self.home / "cache"

    def command(self, *arguments: str) -> tuple[list[str], dict[str, str]]:
        """The command line and the environment of another Podium process at this place.

        Addresses that may hold a password go by the environment, which other users of the machine cannot read.
        """
        where = ["--home", str(self.home), "--store", self.store, "--cluster", self.cluster]
        addresses = {"MLFLOW_TRACKING_URI": self.tracking_uri, "PODIUM_LEDGER": self.ledger}
        return [sys.executable, "-m", "podium", *arguments, *where], {**os.environ, **addresses}

    @property
    def artifacts(self) -> Path:
        """Where MLflow on SQLite keeps artifacts."""
        return self.home / "artifacts"


def _require_writable(option: str, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise _unusable(option, folder, error) from error


def _unusable(option: str, folder: Path, error: OSError) -> UserError:
    return UserError(f"{option} {folder} cannot be used: {error.strerror or error}; give a folder you may write to")
