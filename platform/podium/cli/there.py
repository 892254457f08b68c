"""The entry point of what a cluster carries out for somebody elsewhere: jobs, and drivers that a guardian keeps."""

import os
import shutil
import sys
import tempfile
import threading
from pathlib import Path

import click

from podium import cli
from podium.errors import Interrupted
from podium.execution import frames

PARCEL = "_ray_pkg_"
"""How the folders begin in which Ray unpacks what came along."""


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--tied", is_flag=True)
@click.option("--gives", multiple=True)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def main(tied: bool, gives: tuple[str, ...], words: tuple[str, ...]) -> None:
    """Runs a command of Podium at this cluster's own place, and frames what it writes.

    With --tied it ends with its parent; files and folders of --gives are framed, too.
    """
    log = os.fdopen(os.dup(1), "w", encoding="utf-8")
    sys.stdout, sys.stderr = frames.Stream("out", log), frames.Stream("err", log)
    if tied:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.setdefault("PODIUM_HOME", str(Path.home() / ".podium"))
    if "RAY_ADDRESS" in os.environ:
        os.environ["PODIUM_CLUSTER"] = os.environ["RAY_ADDRESS"]
    sys.argv = ["podium", *words]
    if not gives:
        cli.main()
        return
    with tempfile.TemporaryDirectory() as scratch:
        _enter_copy(Path(scratch))
        try:
            cli.main()
        finally:
            for file in (file for each in gives for file in _files(Path(each))):
                for frame in frames.of_file(file.as_posix(), file.read_bytes()):
                    log.write(frame.line())
            log.flush()
            os.chdir("/")


def _enter_copy(scratch: Path) -> None:
    """Goes to a folder of this command's own, with what came along: others may run in the same one now."""
    here = Path.cwd()
    if here.name.startswith(PARCEL):
        shutil.copytree(here, scratch, dirs_exist_ok=True)
    os.chdir(scratch)


def _files(given: Path) -> list[Path]:
    return [path for path in (given, *sorted(given.rglob("*"))) if path.is_file()]


def _end_with_parent() -> None:
    """Ends this process when whoever started it has: nobody holds the other end of its input any more."""
    os.read(0, 1)
    os._exit(Interrupted.exit_code)


if __name__ == "__main__":
    main(standalone_mode=False)
