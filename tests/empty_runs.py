"""MLflow databases without runs: MLflow itself takes seconds to write the schema of a new one."""

import atexit
import functools
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from podium.tracking.client import connect


def make_empty_runs(database: Path) -> str:
    """Puts a file there such as MLflow makes at its first use, in place of an older one; returns its address."""
    database.parent.mkdir(parents=True, exist_ok=True)
    for beside in ("-wal", "-shm"):  # of a server that was killed; they would be taken for the new file's
        database.with_name(database.name + beside).unlink(missing_ok=True)
    return f"sqlite:///{shutil.copyfile(_template(), database)}"


@functools.cache
def _template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="podium-runs-"))
    atexit.register(shutil.rmtree, folder)
    written, template = folder / "written.db", folder / "template.db"
    connect(f"sqlite:///{written}").search_experiments()
    # whole in one file, without what lies beside it while it is open
    with closing(sqlite3.connect(written)) as source, closing(sqlite3.connect(template)) as copy:
        source.backup(copy)
    return template
