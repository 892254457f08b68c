"""The public names, and what importing them costs."""

import subprocess
import sys
import typing
from pathlib import Path

import pytest

import podium

HEAVY = ("torch", "ray", "mlflow", "optuna", "dask", "pandas", "plotly", "matplotlib", "pyarrow", "sklearn")


def test_every_public_name_exists_and_is_documented() -> None:
    assert podium.__all__ == sorted(podium.__all__)
    for name in podium.__all__:
        assert getattr(podium, name).__doc__
    assert set(podium.__all__) == set(podium._HOMES)


@pytest.mark.parametrize(
    "name", ["compare", "launch", "load_network", "load_result", "load_sweep", "promote", "reproduce"]
)
def test_public_functions_are_typed(name: str) -> None:
    function = getattr(podium, name)
    assert "return" in typing.get_type_hints(function)
    assert all(hint is not typing.Any for hint in typing.get_type_hints(function).values())


def test_the_package_tells_type_checkers_that_it_is_typed() -> None:
    assert (Path(podium.__file__).parent / "py.typed").is_file()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'podium' has no attribute 'lunch'"):
        podium.lunch  # noqa: B018


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(None, id="import"),
        ["--help"],
        ["launch", "--help"],
        ["status", "nothing"],
        ["list"],
        ["schema"],
        ["logs", "0"],
    ],
)
def test_looking_costs_no_heavy_import(tmp_path: Path, arguments: list[str] | None) -> None:
    call = "" if arguments is None else f"import podium.cli; sys.argv = ['podium', *{arguments}]; podium.cli.main()"
    program = (
        "import atexit, sys, podium\n"
        f"atexit.register(lambda: print('heavy:', [name for name in {HEAVY} if name in sys.modules]))\n{call}"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout.splitlines()[-1] == "heavy: []"
    assert "Traceback" not in done.stderr
