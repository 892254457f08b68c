"""Registered models that answer: for files, over HTTP while the alias moves, and in the clean process that examines."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from empty_runs import make_empty_runs
from mlflow import MlflowClient
from mlflow.pyfunc import save_model
from PIL import Image
from torch import nn
from wiring_cases import Outcome, podium_here

from podium.data.given import Given
from podium.data.manifest import Schema
from podium.errors import DataError, ModelError, UserError
from podium.registry import serving
from podium.registry.client import connect, require_name
from podium.registry.examination import agreement, examine
from podium.registry.models import Model, log_best
from podium.spec.sweep import SweepSpec
from podium.sweep.trial import Trial, TrialState
from podium.wiring.answer_files import keeping
from podium.wiring.answers import Reading
from podium.wiring.serving import ask

SPEC = {
    "sweep": "lights",
    "task": "train.py:train",
    "search": {"objective": {"metric": "loss", "direction": "minimize"}},
    "budget": {"trials": 1, "epochs": {"max": 1}},
}
LIGHTS = Schema((1, 4, 4), "uint8", (), "int64", 3, (0.0,), (255.0,), True, ("dark", "bright", "grey"))


class Bright(nn.Module):
    """Scores of `dark`, `bright` and `grey` by the mean brightness, from 0 to 1."""

    def __init__(self, turned: bool) -> None:
        super().__init__()
        self.sign = -10.0 if turned else 10.0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        score = self.sign * (images.mean(dim=(1, 2, 3)) - 0.5)
        return torch.stack([-score, score, torch.full_like(score, -9.0)], dim=1)


@dataclass(frozen=True)
class Lights:
    """A registry with three versions of a model: one, one that answers the other way round, and a damaged one."""

    folder: Path
    uri: str
    client: MlflowClient

    def model(self, version: int) -> Path:
        address: str = self.client.get_model_version_download_uri("lights", str(version))
        return Path(address.removeprefix("file://"))

    def podium(self, *arguments: str) -> Outcome:
        return podium_here(self.folder, *arguments, "--tracking-uri", self.uri)


@pytest.fixture(scope="module")
def lights(tmp_path_factory: pytest.TempPathFactory) -> Lights:
    folder = tmp_path_factory.mktemp("lights")
    uri = make_empty_runs(folder / "mlflow.db")
    client = connect(uri)
    experiment = client.create_experiment("lights", artifact_location=str(folder / "runs"))
    for number in range(3):
        log_best(
            Model(Bright(turned=number == 1), LIGHTS, "softmax"),
            run_id=client.create_run(experiment).info.run_id,
            spec=SweepSpec.model_validate(SPEC),
            trial=Trial(number=number, parameters={}, seed=1, state=TrialState.COMPLETE, best_epoch=1),
            tracking_uri=uri,
            registered_name="lights",
        )
    made = Lights(folder, uri, client)
    with (made.model(3) / "artifacts" / "network.pt2").open("ab") as network:
        network.write(b"\0")
    client.set_registered_model_alias("lights", "champion", "1")
    (folder / "photos" / "more").mkdir(parents=True)
    for name, grey in (("a.png", 250), ("more/b.png", 3)):
        Image.fromarray(np.full((4, 4), grey, np.uint8)).save(folder / "photos" / name)
    samples = np.stack([np.full((4, 4), grey, np.uint8) for grey in (0, 255, 10)])
    np.savez(folder / "x.npz", x=samples, y=np.arange(3))
    np.savez(folder / "two.npz", a=samples, b=samples)
    np.save(folder / "scaled.npy", samples / 255)
    np.save(folder / "wide.npy", np.zeros((2, 1, 4, 5), np.uint8))
    np.save(folder / "empty.npy", np.zeros((0, 1, 4, 4), np.uint8))
    (folder / "broken.png").write_bytes(b"no image")
    (folder / "table.csv").write_text("a,b\n1,2\n")
    return made


def test_answers_for_images(lights: Lights) -> None:
    done = lights.podium("predict", "lights@champion", "photos", "--out", "answers.csv")
    assert done.code == 0, done.problems
    assert [line.split()[:2] for line in done.output.splitlines()[1:3]] == [["a.png", "bright"], ["more/b.png", "dark"]]
    assert (lights.folder / "answers.csv").read_text().splitlines()[0] == "sample,class,probability"


def test_answers_for_arrays(lights: Lights) -> None:
    done = lights.podium("predict", "lights/2", "x.npz", "--probabilities", "--out", "answers.npz", "--json")
    assert done.code == 0, done.problems
    told = done.json
    assert (told["model"], told["version"]) == ("lights", "2")
    assert [row["class"] for row in told["answers"]] == ["bright", "dark", "bright"]
    kept = np.load(lights.folder / "answers.npz")
    assert kept["sample"].tolist() == ["0", "1", "2"]
    names = [f"probability.{name}" for name in LIGHTS.class_names]
    np.testing.assert_allclose(kept["answers"], [[row[name] for name in names] for row in told["answers"]])


@pytest.mark.parametrize(
    ("model", "given", "told"),
    [
        ("lights@champion", "scaled.npy", "neither scaled nor normalized"),
        ("lights@champion", "wide.npy", r"the model takes \[samples, 1, 4, 4\]"),
        ("lights@champion", "empty.npy", r"has the shape \(0, 1, 4, 4\)"),
        ("lights@champion", "two.npz", "name one of a, b with --array"),
        ("lights@champion", "broken.png", "broken.png cannot be read: it is no image"),
        ("lights@champion", "table.csv", r"2 columns \(a, b\)"),
        ("lights@champion", "nothing", "there is no nothing"),
        ("lights@other", "x.npz", "there are: lights@champion"),
        ("lights/9", "x.npz", "there are: lights/1, lights/2, lights/3"),
        ("others/1", "x.npz", "no registered model 'others'; there are: lights"),
        ("others", "x.npz", "'others' is no sweep"),
        ("@champion", "x.npz", "no registered model ''; there are: lights"),
        ("a:b@champion", "x.npz", "no registered model 'a:b'; there are: lights"),
        ("/1", "x.npz", "no registered model ''; there are: lights"),
    ],
)
def test_what_cannot_be_answered(lights: Lights, model: str, given: str, told: str) -> None:
    done = lights.podium("predict", model, given, "--out", "never.json")
    assert (done.code, done.output) == (2, "")
    assert "Traceback" not in done.problems
    assert re.search(told, done.problems)
    assert not list(lights.folder.glob("*never.json"))


def test_a_model_without_a_name_has_no_history(lights: Lights) -> None:
    done = lights.podium("history", "")
    assert done.code == 2
    assert "there is no registered model ''" in done.problems


def test_whatever_a_model_raises_is_told_in_one_line(lights: Lights) -> None:
    class Broken:
        def predict(self, samples: Any) -> Any:
            raise IndexError("out of range")

    version = serving.find(lights.uri, "lights", number="1")
    loaded = replace(serving.load(lights.uri, version), model=Broken())
    _, answered = ask(loaded, lights.folder / "x.npz")
    with pytest.raises(DataError, match="x: out of range"):
        list(answered)


@pytest.mark.parametrize("name", ["", " ", "a/b", "a:b", "a@b", ".", "..", "it's"])
def test_names_that_no_model_can_have(name: str) -> None:
    with pytest.raises(UserError, match="cannot be the name of a registered model"):
        require_name(name)


@pytest.mark.parametrize("name", ["digits", "my digits", "a.b_c-1"])
def test_names_that_a_model_can_have(lights: Lights, name: str) -> None:
    require_name(name)
    assert lights.client.create_registered_model(name).name == name
    lights.client.delete_registered_model(name)


def test_a_model_that_does_not_load(lights: Lights) -> None:
    done = lights.podium("predict", "lights/3", "x.npz")
    assert done.code == 1
    assert "lights version 3 cannot be loaded" in done.problems
    assert "was altered" in done.problems


MAPS = {
    "heads": [],
    "link": "softmax",
    "answer": "probabilities",
    "windows": {},
    "input_dtype": "uint8",
    "threshold": [0.5],
}


def test_maps_become_pictures(tmp_path: Path) -> None:
    """Of classes they are masks as a source has them; numbers are what they are."""
    classes = np.random.default_rng(0).integers(0, 3, (2, 5, 6))
    given = Given(("a.jpg", "b/c.jpg"), np.zeros((2, 1, 5, 6), np.uint8), None, "a.jpg")
    for name, about, answers in (
        ("masks", MAPS, np.moveaxis(np.eye(3)[classes], -1, 1)),
        ("images", MAPS | {"link": "identity"}, 100.2 * classes[:, None]),
    ):
        reading = Reading(about)
        with keeping(tmp_path / name, reading) as keep:
            keep(given, {"answers": answers}, list(reading.rows(given, {"answers": answers})))
        for place, picture in enumerate(("a.png", "b/c.png")):
            pixels = np.asarray(Image.open(tmp_path / name / picture))
            np.testing.assert_array_equal(pixels, classes[place] if name == "masks" else 100 * classes[place])
    twins = Given(("a.jpg", "a.png", "a.jpg.jpg"), given.samples, None, "a.jpg")
    with keeping(tmp_path / "twins", Reading(MAPS)) as keep:
        keep(twins, {"answers": np.moveaxis(np.eye(3)[[*classes, classes[0]]], -1, 1)}, [])
    kept = sorted(path.name for path in (tmp_path / "twins").iterdir())
    assert kept == ["a.jpg.jpg.png", "a.jpg.png", "a.png.png"], "a.png could be either's"
    with pytest.raises(UserError, match="is there already"), keeping(tmp_path / "masks", Reading(MAPS)):
        pass


def test_rows_of_heads_and_numbers() -> None:
    heads = [["kind", "softmax", 0, 2], ["tags", "sigmoid", 2, 4], ["size", "identity", 4, 5]]
    given = Given(("0",), np.zeros((1, 3)), None, "x.npy")
    answers = {"kind": np.array([[0.4, 0.6]]), "tags": np.array([[0.9, 0.1]]), "size": np.array([[2.5]])}
    reading = Reading(MAPS | {"heads": heads, "link": "identity", "windows": None})
    expected = {"sample": "0", "kind.class": "1", "kind.probability": 0.6, "tags.labels": ["0"], "size.value": 2.5}
    assert list(reading.rows(given, answers)) == [expected]


def test_the_alias_moves_while_requests_flow(lights: Lights) -> None:
    """No request fails; whoever asks later gets the newer answers; a damaged version leaves the one before."""
    command = [sys.executable, "-m", "podium", "serve", "lights@champion", "--port", "0", "--json"]
    where = ["--tracking-uri", lights.uri, "--home", str(lights.folder / "home")]
    with subprocess.Popen([*command, *where], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        try:
            url = json.loads(server.stdout.readline())["url"]
            asking = SimpleNamespace(url=url, over=threading.Event(), answers=[], problems=[])
            thread = threading.Thread(target=_ask, args=(asking,))
            thread.start()
            assert _health(url)["version"] == "1"
            lights.client.set_registered_model_alias("lights", "champion", "2")
            _wait(lambda: _health(url)["version"] == "2")
            count = len(asking.answers)
            _wait(lambda: len(asking.answers) > count + 3)
            lights.client.set_registered_model_alias("lights", "champion", "3")
            _wait(lambda: "was altered" in _health(url)["problem"])
            assert _health(url)["version"] == "2"
            asking.over.set()
            thread.join()
            server.send_signal(signal.SIGINT)
            assert server.wait(60) == 0
            assert asking.problems == []
            assert set(asking.answers) == {"bright", "dark"}
            assert asking.answers[0] == "bright"
            assert set(asking.answers[count + 1 :]) == {"dark"}
            told = server.stderr.read()
            assert "lights version 2 answers from now on" in told
            assert told.count("lights version 2 goes on answering") == 1
        finally:
            server.kill()
            lights.client.set_registered_model_alias("lights", "champion", "1")


def _ask(asking: Any) -> None:
    body = json.dumps({"inputs": np.full((1, 1, 4, 4), 255).tolist()}).encode()
    request = urllib.request.Request(f"{asking.url}/invocations", body, {"content-type": "application/json"})
    while not asking.over.is_set():
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                (answer,) = json.load(response)["predictions"]
            asking.answers.append(LIGHTS.class_names[int(np.argmax(answer))])
        except (OSError, ValueError) as error:
            asking.problems.append(repr(error))
        time.sleep(0.02)


def _health(url: str) -> dict[str, str]:
    with urllib.request.urlopen(f"{url}/health", timeout=60) as response:
        health: dict[str, str] = json.load(response)
    return health


def _wait(is_done: Any) -> None:
    until = time.monotonic() + 300
    while not is_done():
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_port_that_is_taken(lights: Lights) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = lights.podium("serve", "lights@champion", "--port", str(taken.getsockname()[1]))
    assert done.code == 2
    assert "give another --port" in done.problems


def test_an_examined_model(lights: Lights) -> None:
    samples = np.random.default_rng(0).integers(0, 255, (5, 1, 4, 4)).astype(np.uint8)
    examined = examine(lights.model(1), samples, batches=(1, 8), repeats=20)
    with torch.inference_mode():
        trained = torch.softmax(Bright(turned=False)(torch.from_numpy(samples / 255).float()), dim=1).numpy()
    assert agreement(examined.answers, {"answers": trained}) < 1e-6
    assert agreement(examined.answers, {"answers": 1 - trained}) > 0.1
    assert examined.answered == []
    assert len(examined.refusals) == 6
    assert [(each.batch, each.repeats) for each in examined.latencies] == [(1, 20), (8, 20)]
    assert all(0 < each.p50_s <= each.p99_s for each in examined.latencies)
    assert 0 < examined.memory_bytes < examined.peak_bytes
    assert examined.model_bytes > (lights.model(1) / "artifacts" / "network.pt2").stat().st_size


CARELESS = """
import time
import numpy
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

class Careless(PythonModel):
    def predict(self, context, model_input: numpy.ndarray, params=None):
        time.sleep(0.01)
        return numpy.zeros(len(model_input))

set_model(Careless())
"""


def test_a_careless_model(tmp_path: Path) -> None:
    """It answers whatever it is asked, slowly."""
    (tmp_path / "careless.py").write_text(CARELESS)
    save_model(tmp_path / "model", python_model=str(tmp_path / "careless.py"), pip_requirements=["mlflow"])
    examined = examine(tmp_path / "model", np.zeros((2, 3), np.float32), batches=(1,), repeats=50, most_s=0.1)
    assert {"NaN", "infinity", "no samples", "wrong size", "text"} <= set(examined.answered)
    (latency,) = examined.latencies
    assert latency.p50_s >= 0.01
    assert latency.repeats < 50


def test_a_model_that_needs_podium(lights: Lights, tmp_path: Path) -> None:
    model = shutil.copytree(lights.model(1), tmp_path / "model")
    code = model / "predict.py"
    code.write_text(code.read_text().replace("import json", "import json\n\nimport podium", 1))
    with pytest.raises(ModelError, match="has to do without Podium"):
        examine(model, np.zeros((2, 1, 4, 4), np.uint8))


def test_answers_of_other_shapes_do_not_agree() -> None:
    with pytest.raises(ModelError, match="shapes"):
        agreement({"answers": np.zeros(3)}, {"answers": np.zeros((3, 1))})
    assert agreement({"answers": np.array([np.nan])}, {"answers": np.zeros(1)}) == float("inf")
