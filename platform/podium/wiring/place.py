"""Where a sweep lives: home, store, tracking server and cluster, with their defaults."""

import os
from dataclasses import dataclass
from pathlib import Path

from podium.ledger import Book


@dataclass(frozen=True)
class Place:
    """The addresses of one user's Podium.

    Attributes:
        home: This machine's state: ledger, runs, prepared data.
        store: Where every host finds checkpoints, logs and task code.
        tracking_uri: The MLflow server, or a database in the home.
        cluster: `inline` (this process), `local` (a Ray of our own) or the address of a running Ray.
    """

    home: Path
    store: str
    tracking_uri: str
    cluster: str = "local"

    @classmethod
    def of(
        cls,
        home: str | Path | None = None,
        store: str | None = None,
        tracking_uri: str | None = None,
        cluster: str | None = None,
    ) -> "Place":
        """Fills in what is not given: `PODIUM_HOME` or `.podium`, the home as store, SQLite in the home."""
        folder = Path(home or os.environ.get("PODIUM_HOME") or ".podium").resolve()
        return cls(
            home=folder,
            store=store or str(folder),
            tracking_uri=tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder / 'mlflow.db'}",
            cluster=cluster or os.environ.get("PODIUM_CLUSTER") or "local",
        )

    @property
    def shards(self) -> Path:
        """Where prepared data lies."""
        return Path(self.store) / "shards"

    def book(self) -> Book:
        """The ledger of all sweeps here."""
        return Book.at_home(self.home)

    @property
    def artifacts(self) -> Path:
        """Where MLflow on SQLite keeps artifacts."""
        return self.home / "artifacts"
