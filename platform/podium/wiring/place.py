"""Where a sweep lives: home, store, tracking server and cluster, with their defaults."""

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from podium.errors import UserError
from podium.ledger import Book


@dataclass(frozen=True)
class Place:
    """The addresses of one user's Podium.

    Attributes:
        home: This machine's state: ledger, runs, prepared data.
        store: Where every host finds checkpoints, logs and task code.
        tracking_uri: The MLflow server, or a database in the home.
        cluster: `inline` (this process), `local` (a Ray of our own) or the address of a running Ray.
        ledger: The database of the ledger, as SQLAlchemy writes addresses; it may hold a password.
    """

    home: Path
    store: str
    tracking_uri: str
    cluster: str
    ledger: str

    @classmethod
    def of(
        cls,
        home: str | Path | None = None,
        store: str | None = None,
        tracking_uri: str | None = None,
        cluster: str | None = None,
        ledger: str | None = None,
    ) -> "Place":
        """Fills in what is not given: `PODIUM_HOME` or `.podium`, the home as store, SQLite in the home."""
        folder = Path(home or os.environ.get("PODIUM_HOME") or ".podium").expanduser().resolve()
        return cls(
            home=folder,
            store=store if store and "://" in store else str(Path(store or folder).expanduser().resolve()),
            tracking_uri=tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder / 'mlflow.db'}",
            cluster=cluster or os.environ.get("PODIUM_CLUSTER") or "local",
            ledger=ledger or os.environ.get("PODIUM_LEDGER") or f"sqlite:///{folder / 'ledger.db'}",
        )

    @property
    def shards(self) -> Path:
        """Where prepared data lies."""
        return Path(self.store) / "shards"

    def book(self) -> Book:
        """The ledger of all sweeps here.

        Raises:
            UserError: if there cannot be one, or something else is in its place.
            StorageFault: if its database does not answer.
        """
        try:
            return Book(self.ledger)
        except OSError as error:
            raise _unusable("--home", self.home, error) from error

    def require_writable(self) -> None:
        """Makes home and store, and writes into both, before anything else is done there.

        Raises:
            UserError: if either cannot be written, or the store is no folder.
        """
        if "://" in self.store:
            raise UserError(
                f"--store {self.store} is an address; prepared data, task code and logs need a folder. Give the path "
                "of one that every host of the cluster mounts"
            )
        for option, folder in (("--home", self.home), ("--store", Path(self.store))):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                tempfile.TemporaryFile(dir=folder).close()
            except OSError as error:
                raise _unusable(option, folder, error) from error

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


def _unusable(option: str, folder: Path, error: OSError) -> UserError:
    return UserError(f"{option} {folder} cannot be used: {error.strerror or error}; give a folder you may write to")
