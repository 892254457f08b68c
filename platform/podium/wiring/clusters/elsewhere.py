"""Commands that a cluster elsewhere carries out: submitted as a job, heard until its end."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from podium.errors import PodiumError, UserError
from podium.tracking.provenance import USER, user
from podium.wiring.clusters.named import Cluster

ENTRY = ("python", "-m", "podium.cli.there")
"""What a cluster runs; its hosts have Podium installed, and its Python on their path."""

MOST_WORDS = 4
"""Words of a command by which Ray shows it."""

LAST_LINES = 5

SIGNALS = 128
"""The exit code of a process that was killed is this and the signal's number."""


class Answer(NamedTuple):
    """What came back.

    Attributes:
        code: The exit code.
        output: What was written to standard output, unless somebody heard it.
        problems: What was written to standard error, unless somebody heard it.
        files: By name the files that were asked for.
    """

    code: int
    output: str
    problems: str
    files: dict[str, bytes]


def carry_out(
    cluster: Cluster,
    words: Sequence[str],
    hear: Callable[[str, str], None] | None = None,
    *,
    parcel: bytes | None = None,
    gives: Sequence[str] = (),
) -> Answer:
    """Has a command of Podium carried out on a cluster, with the cluster's own home, store, ledger and MLflow.

    Args:
        cluster: Which one.
        words: The command without `podium`; everybody on the cluster can read them.
        hear: Told of all that it writes, as it comes: `out` or `err`, and the text; and `planted`, once the cluster has
            taken a sweep.
        parcel: The folder that it is carried out in, as a zip file.
        gives: The files and folders it writes there that are wanted back.

    Raises:
        UserError: if the cluster cannot be reached, or refuses the token.
        PodiumError: if it could not begin with it, having no such Podium, for example, or it was killed.
        Interrupted: if the cluster was lost meanwhile.
        KeyboardInterrupt: if the user has had enough; the job is ended, and with it all but a sweep's driver.
    """
    from podium.execution.frames import to_file
    from podium.execution.jobs import Jobs

    jobs = Jobs(cluster.address, cluster.token())
    command = [*ENTRY, *(word for each in gives for word in ("--gives", each)), "--", *words]
    about = {"podium": " ".join(words[:MOST_WORDS]), "user": user()}
    job = jobs.submit(command, parcel, {USER: user()}, about)
    heard = _Heard(hear)
    try:
        for line in jobs.follow(job):
            heard.take(line)
    except KeyboardInterrupt:
        with suppress(UserError):
            jobs.stop(job)
        raise
    code, message = jobs.result(job)
    with suppress(UserError):
        jobs.forget(job)
    if (code and not heard.has_begun) or code >= SIGNALS:
        said = "\n".join(heard.others[-LAST_LINES:]) or message
        what = "the command was killed there" if heard.has_begun else "is this Podium installed on its hosts"
        raise PodiumError(f"{cluster.name} did not carry it out: {what}. It said:\n{said}")
    files = {name: to_file(pieces) for name, pieces in heard.files.items()}
    return Answer(code, "".join(heard.texts["out"]), "".join(heard.texts["err"]), files)


class _Heard:
    """What has come of a command.

    Attributes:
        texts: What it wrote, unless somebody hears it at once.
        files: By name the pieces of files.
        others: Lines that are not Podium's.
        has_begun: Whether any is.
    """

    def __init__(self, hear: Callable[[str, str], None] | None) -> None:
        self.texts: dict[str, list[str]] = {"out": [], "err": [], "planted": []}
        self.files: dict[str, list[str]] = {}
        self.others: list[str] = []
        self.has_begun = False
        self._hear = hear or (lambda kind, text: self.texts[kind].append(text))

    def take(self, line: str) -> None:
        """One line of the job's log."""
        from podium.execution.frames import read

        frame = read(line)
        if frame is None:
            self.others.append(line)
            return
        self.has_begun = True
        if frame.kind == "file":
            self.files.setdefault(frame.name, []).append(frame.text)
        else:
            self._hear(frame.kind, frame.text)
