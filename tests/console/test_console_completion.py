"""What shells complete, in the shells themselves where they are installed, and that it is quick to load."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from shown_sweeps import Story, make_spec, make_story  # noqa: F401

from podium.cli.completion import VARIABLE
from podium.cli.sections import SECTIONS
from podium.ledger import Book

SOURCES = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path: Path, make_story: Callable[..., Story]) -> Path:  # noqa: F811
    """A home with the sweeps `digits`, `shapes` and the newest, `shown`."""
    book = Book.at_home(tmp_path / "home")
    for name, trials in (("digits", 3), ("shapes", 2), ("shown", 12)):
        story = make_story(trials=trials).play()
        ledger = book.hold(name)
        ledger.append([row.event for row in story.rows])
        ledger.release()
    book.close()
    return tmp_path / "home"


@pytest.fixture
def environment(tmp_path: Path, home: Path) -> dict[str, str]:
    """One in which `podium` is on the path and a cluster has a name."""
    command = tmp_path / "bin" / "podium"
    command.parent.mkdir()
    command.write_text(f"#!{sys.executable}\nfrom podium.cli import main\nmain()\n")
    command.chmod(0o755)
    (tmp_path / "config" / "podium").mkdir(parents=True)
    (tmp_path / "config" / "podium" / "clusters.toml").write_text('[lab]\naddress = "http://head:8265"\n')
    path = f"{command.parent}:{os.environ['PATH']}"
    sources = f"{SOURCES / 'platform'}:{SOURCES / 'dashboards'}"
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PODIUM")}
    return clean | {
        "PATH": path, "PYTHONPATH": sources, "PODIUM_HOME": str(home), "XDG_CONFIG_HOME": str(tmp_path / "config")
    }  # fmt: skip


def completed(environment: dict[str, str], line: str) -> list[str]:
    """What the command line says to bash."""
    words = line.split(" ")
    asked = {VARIABLE: "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(["podium"], env=environment | asked, capture_output=True, text=True, timeout=60, check=True)
    return [item.partition(",")[2] for item in done.stdout.split()]


def test_what_is_there_is_completed(environment: dict[str, str]) -> None:
    assert completed(environment, "podium st") == ["status", "stop"]
    assert completed(environment, "podium status ") == ["shown", "shapes", "digits"], "the newest first"
    assert completed(environment, "podium compare digits sh") == ["shown", "shapes"]
    assert completed(environment, "podium stop digits --trial ") == ["0", "1", "2"]
    assert completed(environment, "podium logs digits/") == ["digits/0", "digits/1", "digits/2"]
    assert completed(environment, "podium logs 1") == ["1", "10", "11"], "of the newest sweep"
    assert completed(environment, "podium status digits --cluster l") == ["lab", "local"]
    assert completed(environment, "podium cluster remove ") == ["lab"]
    assert completed(environment, "podium history ") == [], "a model's name is no sweep's"
    assert "--json" in completed(environment, "podium status --")


def test_where_there_is_no_ledger_nothing_is_completed_or_made(environment: dict[str, str], tmp_path: Path) -> None:
    nowhere = environment | {"PODIUM_HOME": str(tmp_path / "nowhere")}
    assert completed(nowhere, "podium status ") == []
    assert not (tmp_path / "nowhere").exists()


def test_bash_completes(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text("")
    script = """
    eval "$(podium completion bash)"
    complete -p podium
    COMP_WORDS=(podium status sha) COMP_CWORD=2
    _podium_completion podium
    echo "${COMPREPLY[@]}"
    """
    bash = ["bash", "--norc", "-c", script]
    done = subprocess.run(bash, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines()[-1] == "shapes", done.stderr
    assert "_podium_completion" in done.stdout.splitlines()[0]


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed; tests/services.sh does that")
def test_fish_completes(environment: dict[str, str]) -> None:
    script = "podium completion fish | source; complete --do-complete 'podium status d'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.splitlines() == ["digits"], done.stderr


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed; tests/services.sh does that")
def test_zsh_completes(environment: dict[str, str]) -> None:
    script = r"""
    autoload -Uz compinit && compinit -D; eval "$(podium completion zsh)"; print $_comps[podium]
    zmodload zsh/zpty
    zpty shell 'TERM=dumb zsh -f -i'
    zpty -w shell 'autoload -Uz compinit; compinit -D; eval "$(podium completion zsh)"; print rea""dy'
    zpty -r -m shell shown '*ready*'
    zpty -w -n shell $'podium status sha\t'
    zpty -r -m shell shown '*shapes*'
    print $shown
    """
    done = subprocess.run(
        ["zsh", "-f", "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.splitlines()[0] == "_podium_completion", done.stderr
    assert "podium status shapes" in done.stdout
    assert done.stderr == ""


def test_help_and_completion_load_no_library_that_takes_long(environment: dict[str, str]) -> None:
    heavy = ("sqlalchemy", "pydantic", "rich", "ray", "torch", "mlflow", "optuna", "numpy", "tomlkit")
    script = f"import sys, podium.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"


def test_help_lists_every_command_once_under_a_heading() -> None:
    import click

    from podium.cli import podium

    shown = click.Context(podium, info_name="podium")
    text = podium.get_help(shown)
    visible = [name for name, command in podium.commands.items() if not command.hidden]
    for name in visible:
        assert sum(line.startswith(f"  {name} ") for line in text.splitlines()) == 1, name
    headings = [line[:-1] for line in text.splitlines() if line[:1].isupper() and line.endswith(":")]
    assert headings[1:6] == list(SECTIONS)
