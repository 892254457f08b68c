"""What a registered model consists of, told by one digest, which its version in the registry has as a tag.

Whoever may write artifacts may not therefore write the registry, and a model's folder has code that is run to load it.
"""

import hashlib
from pathlib import Path

from podium.errors import ModelError
from podium.store import files_of

TAG = "podium.sha256"

ADDED = {"registered_model_meta"}
"""Files that MLflow adds to its copies."""


def digest_of(folder: Path) -> str:
    """The SHA-256 of the names and contents of a model's files, in hexadecimal."""
    names = {file.relative_to(folder).as_posix(): file for file in files_of(folder)}
    lines = [f"{_sha256(file)} {name}\n" for name, file in sorted(names.items()) if name not in ADDED]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def require_digest(folder: Path, digest: str) -> None:
    """Makes sure that a model is what was registered, before any of it is run.

    Raises:
        ModelError: if it is not.
    """
    found = digest_of(folder)
    if found != digest:
        raise ModelError(
            f"the model was altered: its digest is {found[:12]}, and {digest[:12]} was registered; nothing of it was "
            "run. Find out who changed it, and promote another version"
        )


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
