"""The secrets of a server: files that their owner alone can read, made once and read again ever after."""

import os
import secrets
from pathlib import Path

from podium.errors import UserError


class Vault:
    """A folder of secrets.

    Args:
        folder: Made, with mode 700, if it is not there.

    Raises:
        UserError: if the folder cannot be used; from the methods also if others can read a secret.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise UserError(f"the folder {folder} for secrets cannot be made: {error.strerror or error}") from error

    def path(self, name: str) -> Path:
        """Where a secret is."""
        return self._folder / name

    def secret(self, name: str) -> str:
        """A secret, made of chance if it is not there."""
        path = self.path(name)
        return read_secret(path) if path.exists() else self.keep(name, secrets.token_hex(32))

    def keep(self, name: str, text: str) -> str:
        """Writes a secret, in place of the one there was, and returns it."""
        draft = self.path(f".{name}")
        draft.unlink(missing_ok=True)
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path(name))
        return text


def read_secret(path: Path) -> str:
    """What a file holds that its owner alone may read.

    Raises:
        UserError: if it is not there, is empty, or others can read it.
    """
    try:
        mode, text = path.stat().st_mode, path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the secret {path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if mode & 0o077:
        raise UserError(f"others can read the secret {path}; run: chmod 600 {path}")
    if not text:
        raise UserError(f"the secret {path} is empty; write it, or remove the file if it is one that Podium makes")
    return text
