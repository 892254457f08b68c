"""Commands that a cluster elsewhere carries out: submitted as a job, heard until its end."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from podium.errors import PodiumError
from podium.tracking.provenance import USER, user
from podium.wiring.clusters.named import Cluster

ENTRY = ("python", "-m", "podium.cli.there")
"""What a cluster runs; its hosts have Podium installed, and its Python on their path."""

MOST_WORDS = 4
"""Words of a command by which Ray shows it."""

LAST_LINES = 5


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
    gives: str = "",
) -> Answer:
    """Has a command of Podium carried out on a cluster, with the cluster's own home, store, ledger and MLflow.

    Args:
        cluster: Which one.
        words: The command without `podium`; everybody on the cluster can read them.
        hear: Told of all that it writes, as it comes: `out` or `err`, and the text.
        parcel: The folder that it is carried out in, as a zip file.
        gives: The file or folder it writes there that is wanted back.

    Raises:
        UserError: if the cluster cannot be reached, or refuses the token.
        PodiumError: if it could not begin with it, having no such Podium, for example.
        Interrupted: if the cluster was lost meanwhile.
        KeyboardInterrupt: if the user has had enough; the job is ended, and with it all but a sweep's driver.
    """
    from podium.execution.frames import read, to_file
    from podium.execution.jobs import Jobs

    jobs = Jobs(cluster.address, cluster.token())
    command = [*ENTRY, *(["--gives", gives] if gives else []), "--", *words]
    about = {"podium": " ".join(words[:MOST_WORDS]), "user": user()}
    job = jobs.submit(command, parcel, {USER: user()}, about)
    texts: dict[str, list[str]] = {"out": [], "err": []}
    files: dict[str, list[str]] = {}
    others: list[str] = []
    try:
        for line in jobs.follow(job):
            frame = read(line)
            if frame is None:
                others.append(line)
            elif frame.kind == "file":
                files.setdefault(frame.name, []).append(frame.text)
            elif hear is not None:
                hear(frame.kind, frame.text)
            else:
                texts[frame.kind].append(frame.text)
    except KeyboardInterrupt:
        jobs.stop(job)
        raise
    code, message = jobs.result(job)
    jobs.forget(job)
    if code and not any((*texts.values(), files)) and hear is None:
        raise _not_begun(cluster, others, message)
    return Answer(
        code, "".join(texts["out"]), "".join(texts["err"]), {name: to_file(each) for name, each in files.items()}
    )


def _not_begun(cluster: Cluster, lines: list[str], message: str) -> PodiumError:
    said = "\n".join(lines[-LAST_LINES:]) or message
    return PodiumError(
        f"{cluster.name} could not begin with it: is this Podium installed on its hosts? It said:\n{said}"
    )
