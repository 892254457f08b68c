"""Ray's token authentication, settled before Ray is imported: Ray reads these variables at its import."""

import os
import secrets
from pathlib import Path


def ensure_token() -> None:
    """Turns token authentication on, with a token of our own if the user has none anywhere."""
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    given = "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ
    if os.environ["RAY_AUTH_MODE"] == "token" and not given and not Path("~/.ray/auth_token").expanduser().exists():
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
