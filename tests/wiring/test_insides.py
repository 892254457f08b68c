"""Pictures of the inside of a sweep's best network: with its run, and by hand."""

import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from empty_runs import make_empty_runs
from mlflow import MlflowClient
from wiring_cases import podium_here

import podium
from podium.errors import UserError
from podium.tracking import sheets
from podium.tracking.sheets import Matrix, Reliability, Sheet, Tile, Tiles

pytestmark = pytest.mark.slow

SQUARES = {
    "sweep": "squares",
    "task": "classification",
    "data": {"source": {"kind": "arrays", "path": "squares.npz"}, "batch_size": 32},
    "network": {"kind": "convnet", "depth": 2, "channels": 4, "kernel": 3, "width": 8},
    "optimizer": {"learning_rate": 0.01},
    "search": {"objective": {"metric": "validation/accuracy", "direction": "maximize"}},
    "budget": {"trials": 1, "epochs": {"max": 3}},
    "postprocessing": {"answer": "class", "threshold": "chosen"},
}
PICTURES = {"filters", "confusion", "calibration", "maximization", "explanations", "projections-1"}


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, podium.Result]:
    """A sweep over noisy images, of which those of class 1 have a bright square in the upper left corner."""
    folder = tmp_path_factory.mktemp("squares")
    source = np.random.default_rng(0)
    labels = source.integers(0, 2, 300)
    images = source.integers(0, 100, (300, 1, 12, 12))
    images[labels == 1, :, 1:5, 1:5] += 120
    np.savez(folder / "squares.npz", x=images.astype(np.uint8), y=labels)
    home = folder / ".podium"
    make_empty_runs(home / "mlflow.db")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        return folder, podium.launch(SQUARES, home=home, cluster="inline")


def test_the_best_run_has_pictures_of_its_inside(launched: tuple[Path, podium.Result]) -> None:
    folder, result = launched
    assert result.best is not None
    client = MlflowClient(f"sqlite:///{folder / '.podium' / 'mlflow.db'}")
    names = {Path(file.path).name for file in client.list_artifacts(result.best["run_id"], "inside")}
    assert {f"{name}.png" for name in PICTURES} | {"index.html"} <= names
    page = Path(client.download_artifacts(result.best["run_id"], "inside/index.html")).read_text()
    assert page.count("data:image/png;base64,") == len(names) - 1
    assert not re.search(r"(src|href)=\"(?!data:)", page), "it needs no other file"
    assert "Inside of trial 0 of squares" in page


def test_the_model_that_was_registered_answers_by_a_chosen_threshold(launched: tuple[Path, podium.Result]) -> None:
    folder, result = launched
    model = result.summary["model"]
    client = MlflowClient(f"sqlite:///{folder / '.podium' / 'mlflow.db'}")
    location = client.get_logged_model(model["model_id"]).artifact_location.removeprefix("file://")
    about = json.loads((Path(location) / "artifacts" / "description.json").read_text())
    assert (about["answer"], about["link"], about["resize"]) == ("class", "softmax", None)
    (threshold,) = about["threshold"]
    assert 0 < threshold < 1

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # MLflow warns of hints in its own code
        import mlflow.pyfunc

    champion = mlflow.pyfunc.load_model(location)
    stored = np.load(folder / "squares.npz")
    assert (champion.predict(stored["x"]) == stored["y"]).mean() > 0.9


def test_pictures_by_hand(launched: tuple[Path, podium.Result]) -> None:
    folder, _ = launched
    done = podium_here(folder, "inside", "squares", "--home", ".podium", "--out", "seen", "--json")
    assert done.code == 0, done.problems
    assert {"sweep": "squares", "trial": 0, "folder": "seen"}.items() <= done.json.items()
    assert set(done.json["pictures"]) >= PICTURES
    assert (folder / "seen" / "index.html").is_file()
    missing = podium_here(folder, "inside", "squares", "--home", ".podium", "--trial", "5")
    assert (missing.code, "has no trial 5" in missing.problems) == (2, True)


def test_what_lights_up_is_the_corner_with_the_square(launched: tuple[Path, podium.Result]) -> None:
    import torch

    from podium.training.inside.attribution import occlusion

    network = launched[1].network()
    (batch,) = network.reader().sequential("validation", 300)
    rows = batch.targets == 1
    images = torch.from_numpy(batch.inputs[rows])
    found = occlusion(network.module, network.link, images, torch.ones(len(images), dtype=torch.int64)).mean(dim=0)
    assert found[1:5, 1:5].mean() > 4 * found[6:, 6:].abs().mean()


def test_vectors_have_no_pictures(launched: tuple[Path, podium.Result], tmp_path: Path) -> None:
    import dataclasses

    from podium.wiring import insides

    network = launched[1].network()
    flat = dataclasses.replace(network, schema=dataclasses.replace(network.schema, inputs=(144,)))
    with pytest.raises(UserError, match=r"is over samples of shape \(144,\), and pictures are made of networks for im"):
        insides.write(flat, tmp_path)


def test_a_page_is_safe_and_whole(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    content: list[Any] = [
        Tiles(
            [
                Tile(random.random((4, 6)), "a < b"),
                Tile(random.random((4, 6, 3))),
                Tile(-random.random((4, 6)), signed=True),
            ],
            2,
        ),
        Matrix(np.eye(3, dtype=np.int64), ["<i>", "b", "c"]),
        Matrix(np.eye(30, dtype=np.int64), list(map(str, range(30)))),
        Reliability(np.array([np.nan, 0.8]), np.array([np.nan, 0.7]), np.array([0, 4])),
    ]
    made = [Sheet(f"s{number}", "<b>title</b>", "a & b", each) for number, each in enumerate(content)]
    sheets.write(tmp_path / "page", "Of <script>", made)
    page = (tmp_path / "page" / "index.html").read_text()
    assert "<script>" not in page
    assert "&lt;b&gt;title" in page
    for sheet in made:
        assert (tmp_path / "page" / f"{sheet.name}.png").read_bytes().startswith(b"\x89PNG")
