"""Nothing is unpickled, or run from text, that somebody else may have written; what does has its reason here."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
BUILT_IN = {"eval", "exec"}
METHODS = {
    "read_pickle",
    "all_gather_object",
    "gather_object",
    "broadcast_object_list",
    "scatter_object_list",
    "send_object_list",
    "recv_object_list",
}
LOADERS = {"torch.load", "torch.jit.load", "torch.export.load", "yaml.load", "yaml.unsafe_load", "joblib.load"}
ARRAYS = {"np.load", "numpy.load"}

KNOWN = {
    ("data/functions.py", "exec"): "the user's own function, which came from the driver with its text",
    ("registry/predict.py", "torch.export.load"): "after the checksum of its archive was compared",
}


def dangers(code: str) -> Iterator[str]:
    """What in a module's code unpickles, or runs text."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MODULES:
            yield str(node.module)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            is_open = name in ARRAYS and given.get("allow_pickle") != "False"
            if is_open or name in LOADERS | BUILT_IN or name.rpartition(".")[2] in METHODS:
                yield name


def test_nothing_is_unpickled_but_what_is_known(root: Path) -> None:
    package = root / "platform" / "podium"
    found = {
        (path.relative_to(package).as_posix(), danger)
        for path in package.rglob("*.py")
        for danger in dangers(path.read_text())
    }
    assert found == set(KNOWN)


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from cloudpickle import loads",
        "import torch\ntorch.load(path)",
        "numpy.load(path)",
        "np.load(path, allow_pickle=True)",
        "pandas.read_pickle(path)",
        "dist.all_gather_object(found, mine)",
        "exec(text)",
    ],
)
def test_what_would_be_noticed(code: str) -> None:
    assert list(dangers(code))
