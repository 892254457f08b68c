"""Telling somebody that a sweep has ended."""

import json
import os
import subprocess
import urllib.request
from typing import Any

from podium.masking import mask
from podium.spec.sweep import Notify

TIMEOUT_S = 30


def notify(settings: Notify, summary: dict[str, Any]) -> list[str]:
    """Runs the command and posts to the webhook, the summary as JSON; returns what went wrong, in words.

    `$NAMES` in the webhook are filled in from the environment here and nowhere else: secrets stay out of every file.
    """
    body = json.dumps(summary).encode()
    problems = []
    if settings.command:
        try:
            done = subprocess.run(  # noqa: S602 - the user's own shell command, from the user's own file
                settings.command, shell=True, input=body, timeout=TIMEOUT_S, check=False
            )
            if done.returncode:
                problems.append(f"notify.command ended with exit code {done.returncode}: {settings.command}")
        except subprocess.TimeoutExpired:
            problems.append(f"notify.command took longer than {TIMEOUT_S} s: {settings.command}")
    if settings.webhook:
        url = os.path.expandvars(settings.webhook)
        try:
            request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310
            urllib.request.urlopen(request, timeout=TIMEOUT_S).close()  # noqa: S310
        except (OSError, ValueError) as error:
            reason = str(error).replace(url, settings.webhook)
            problems.append(f"notify.webhook {settings.webhook} could not be reached: {reason}")
    return [mask(problem) for problem in problems]
