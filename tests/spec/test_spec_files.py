"""Sweep files: what is read, and the one error for everything that cannot be."""

import json
from pathlib import Path

import pytest

from podium.errors import SpecError
from podium.spec.files import parse_sweep, parse_value, read_sweep
from podium.spec.space import Choice, Float, Int

DIGITS = """\
sweep: digits
task: classification                      # built in
data:
  source: mnist_5k
  split: {train: 0.7, validation: 0.15, test: 0.15, by: content}
  batch_size: 64
  seed: 0
network: {kind: convnet}
search:
  objective: {metric: validation/accuracy, direction: maximize}
  sampler: tpe
  seed: 0
  space:
    network.kind: {choice: [mlp, convnet]}
    network.depth: {int: [1, 3]}
    network.activation: {choice: [relu, sigmoid, tanh, gelu]}
    network.kernel: {choice: [3, 5], when: {network.kind: convnet}}
    network.dropout: {float: [0.0, 0.6]}
    initializer.scheme: {choice: [small_normal, xavier_uniform, xavier_normal, variance_scaling, he_normal, orthogonal]}
    optimizer.kind: {choice: [sgd, adam, adadelta]}
    optimizer.learning_rate: {log: [1e-4, 1.0]}
    penalty.l1: {log: [1e-7, 1e-3]}
    penalty.l2: {log: [1e-7, 1e-2]}
budget:
  trials: 32
  epochs: {min: 1, max: 9, factor: 3}     # rungs at 1, 3, 9
  policy: asha
resources: {ranks: 1, cpus: 1, gpus: 0}
fuse: auto
"""


@pytest.fixture
def write(tmp_path):
    def written(text):
        path = tmp_path / "sweep.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return written


@pytest.fixture
def refused(write):
    """Reads a file that must be refused; returns line, key and problem."""

    def read(text, *overrides):
        path = write(text)
        with pytest.raises(SpecError) as caught:
            read_sweep(path, overrides)
        error = caught.value
        assert "pydantic" not in str(error)
        assert "\n" not in str(error)
        if not overrides:
            assert error.file == str(path)
        return error

    return read


def test_reads_the_sweep_file_of_the_design(write):
    path = write(DIGITS)
    file = read_sweep(path)
    assert file.text == DIGITS
    assert (file.path, file.folder) == (path, path.parent)
    spec = file.spec
    assert spec.rungs() == (1, 3, 9)
    assert spec.fuse == "auto"
    space = spec.space()
    domains = {parameter.name: parameter.domain for parameter in space.parameters}
    assert domains["optimizer.learning_rate"] == Float(1e-4, 1.0, log=True)
    assert domains["network.depth"] == Int(1, 3)
    assert domains["network.kernel"] == Choice((3, 5))
    assert spec.given() == {"network.kind": "convnet"}
    assert space.is_conditional


def test_is_yaml_1_2(write):
    text = DIGITS.replace("fuse: auto", "fuse: off\nnote: no").replace("{log: [1e-4, 1.0]}", "{log: [1e-4, 1]}")
    spec = read_sweep(write(text)).spec
    assert (spec.fuse, spec.note) == ("off", "no")
    assert spec.search.space["optimizer.learning_rate"].domain().low == 1e-4


def test_a_spec_survives_json(write):
    spec = read_sweep(write(DIGITS)).spec
    again = type(spec).model_validate(json.loads(json.dumps(spec.written())))
    assert again == spec
    assert again.given() == spec.given() == {"network.kind": "convnet"}
    assert parse_sweep(spec.written()) == spec


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("budget.trials=64", lambda spec: spec.budget.trials == 64),
        ("network.kind=mlp", lambda spec: spec.given()["network.kind"] == "mlp"),
        ("optimizer.clip=1e-1", lambda spec: spec.optimizer.clip == 0.1),
        ("fuse=4", lambda spec: spec.fuse == 4),
        ("tags.owner=me", lambda spec: spec.tags == {"owner": "me"}),
        (
            "search.space.optimizer.learning_rate={log: [1e-3, 1]}",
            lambda spec: spec.search.space["optimizer.learning_rate"].domain().low == 1e-3,
        ),
        (
            "search.space.optimizer.momentum={float: [0, 0.9]}",
            lambda spec: "optimizer.momentum" in spec.search.space,
        ),
    ],
)
def test_overrides(write, override, read):
    file = read_sweep(write(DIGITS), [override])
    assert read(file.spec)
    assert file.text == DIGITS


@pytest.mark.parametrize(
    ("override", "key", "words"),
    [
        ("budget.trails=64", "budget.trails", "did you mean 'trials'"),
        ("budget.trials=many", "budget.trials", "whole number"),
        ("budget.trials", "", "key=value"),
        ("budget.trials=[1", "budget.trials", "not YAML"),
        ("data.source.kind=arrays", "data.source.kind", "no keys of its own"),
        ("search.space.network.knd={choice: [mlp]}", "search.space.network.knd", "did you mean 'network.kind'"),
    ],
)
def test_an_error_names_the_override(refused, override, key, words):
    error = refused(DIGITS, override)
    assert (error.file, error.line, error.key) == (override, None, key)
    assert words in error.problem


# Each row: what stands in the file of the design, what stands there instead, the key, and words of the error.
# The line must be the one where the replacement starts, unless `@` and a number say otherwise.
BROKEN = {
    "name with a slash": ("sweep: digits", "sweep: a/b", "sweep", "letters, digits"),
    "name with dots": ("sweep: digits", "sweep: ../x", "sweep", "letters, digits"),
    "unknown section": ("budget:\n", "bugdet:\n", "bugdet", "did you mean 'budget'"),
    "unknown key": ("  policy: asha", "  polcy: asha", "budget.polcy", "did you mean 'policy'"),
    "missing key": ("budget:\n  trials: 32\n", "budget:\n", "budget.trials", "is missing"),
    "unknown name": ("  policy: asha", "  policy: ahsa", "budget.policy", "did you mean 'asha'"),
    "text for a number": ("trials: 32", 'trials: "32"', "budget.trials", "whole number, and is '32'"),
    "true for a number": ("trials: 32", "trials: true", "budget.trials", "whole number, and is true"),
    "fraction for a whole number": ("trials: 32", "trials: 3.5", "budget.trials", "whole number, and is 3.5"),
    "number for a section": ("network: {kind: convnet}", "network: 3", "network", "section of keys, and is 3"),
    "number for text": ("sweep: digits", "sweep: 3", "sweep", "must be text"),
    "a zero budget": ("trials: 32", "trials: 0", "budget.trials", "at least 1, and is 0"),
    "infinite": ("  policy: asha", "  wall_time: .inf", "budget.wall_time", "finite"),
    "split": ("train: 0.7", "train: 0.8", "data.split", "add up to 1"),
    "source": ("source: mnist_5k", "source: mnist", "data.source", "did you mean 'mnist_5k'"),
    "source without a path": ("source: mnist_5k", "source: {kind: arrays}", "data.source.path", "is missing"),
    "source that is not there": (
        "source: mnist_5k",
        "source: {kind: arrays, path: x.npz}",
        "data.source.path",
        "no x.npz",
    ),
    "no domain": ("{int: [1, 3]}", "{range: [1, 3]}", "search.space.network.depth", "{choice: [a, b]}"),
    "a bare list as domain": ("{int: [1, 3]}", "[1, 3]", "search.space.network.depth.0", "{choice: [a, b]}"),
    "key of another domain": ("{int: [1, 3]}", "{int: [1, 3], stp: 2}", "search.space.network.depth.stp", "'step'"),
    "reversed range": ("{int: [1, 3]}", "{int: [3, 1]}", "search.space.network.depth", "reversed; write [1, 3]"),
    "empty range": ("{float: [0.0, 0.6]}", "{float: [0.5, 0.5]}", "search.space.network.dropout", "one value"),
    "short range": ("{int: [1, 3]}", "{int: [1]}", "search.space.network.depth.int.1", "too few entries"),
    "long range": ("{int: [1, 3]}", "{int: [1, 2, 3]}", "search.space.network.depth.int", "more entries than the 2"),
    "fraction in an int range": (
        "{int: [1, 3]}",
        "{int: [1, 2.5]}",
        "search.space.network.depth.int.1",
        "whole number, and is 2.5",
    ),
    "log range touching zero": ("{log: [1e-4, 1.0]}", "{log: [0, 1.0]}", "optimizer.learning_rate", "above zero"),
    "log float touching zero": ("{log: [1e-4, 1.0]}", "{float: [0, 1], log: true}", "learning_rate", "above zero"),
    "log with a step": ("{int: [1, 3]}", "{int: [1, 3], log: true, step: 2}", "network.depth", "combined with log"),
    "negative step": ("{float: [0.0, 0.6]}", "{float: [0.0, 0.6], step: -1}", "network.dropout", "positive"),
    "wide step": ("{float: [0.0, 0.6]}", "{float: [0.0, 0.6], step: 1}", "network.dropout", "wider than the range"),
    "no options": ("{choice: [mlp, convnet]}", "{choice: []}", "network.kind.choice", "at least 1"),
    "option twice": ("{choice: [mlp, convnet]}", "{choice: [mlp, mlp]}", "search.space.network.kind", "twice"),
    "section as an option": (
        "{choice: [mlp, convnet]}",
        "{choice: [{a: 1}]}",
        "network.kind.choice.0",
        "must be a num",
    ),
    "key that is not a setting": ("network.depth:", "network.dpth:", "network.dpth", "did you mean 'network.depth'"),
    "key that cannot be searched": ("network.depth:", "budget.trials:", "space.budget.trials", "not a setting"),
    "unknown activation": ("tanh, gelu]", "tanh, glu]", "space.network.activation", "holds 'glu'"),
    "rate up to one": ("[0.0, 0.6]", "[0.0, 1.0]", "network.dropout", "holds 1.0, which network.dropout refuses"),
    "even kernel": ("{choice: [3, 5],", "{choice: [3, 4],", "search.space.network.kernel", "must be odd"),
    "even kernel within a range": ("{choice: [3, 5],", "{int: [3, 7],", "search.space.network.kernel", "holds 4"),
    "fraction for a depth": ("{int: [1, 3]}", "{float: [1, 3]}", "search.space.network.depth", "whole number"),
    "when on an unknown parameter": ("when: {network.kind:", "when: {network.knd:", "when.network.knd", "network.kind"),
    "when on a value the parent lacks": (
        "{network.kind: convnet}}",
        "{network.kind: rnn}}",
        "when.network.kind",
        "none of its values",
    ),
    "when on a value a fixed parent lacks": (
        "when: {network.kind: convnet}",
        "when: {network.norm: bach}",
        "when.network.norm",
        "did you mean 'batch'",
    ),
    "when on itself": ("when: {network.kind: convnet}", "when: {network.kernel: 3}", "network.kernel.when", "cycle"),
    "equal names at once": (
        "network.depth: {int: [1, 3]}",
        "network.depth: [{int: [1, 3]}, {int: [4, 6]}]",
        "search.space.network.depth",
        "disjoint",
    ),
    "first value outside of its domain": (
        "network: {kind: convnet}",
        "optimizer: {kind: adamw}",
        "optimizer.kind",
        "trial 0",
    ),
    "unknown task": ("task: classification", "task: clasification", "task", "did you mean 'classification'"),
    "task that is not there": ("task: classification", "task: task.py:Mine", "task", "no file task.py"),
    "task without a name": ("task: classification", 'task: "task.py:"', "task", "file.py:Name"),
    "metric without a split": ("validation/accuracy", "accuracy", "search.objective.metric", "validation/loss"),
    "metric of the test split": ("validation/accuracy", "test/accuracy", "search.objective.metric", "promotion alone"),
    "metric without samples": (
        "validation: 0.15, test: 0.15",
        "validation: 0, test: 0.3",
        "search.objective.metric",
        "data.split.validation is 0",
    ),
    "unknown direction": ("direction: maximize", "direction: max", "search.objective.direction", "maximize"),
    "rungs that leave nothing": ("{min: 1, max: 9,", "{min: 9, max: 9,", "budget.epochs", "no rung"),
    "first rung above the last": ("{min: 1, max: 9,", "{min: 10, max: 9,", "budget.epochs", "must not lie above"),
    "several objectives under a policy": (
        "objective: {metric: validation/accuracy, direction: maximize}",
        "objective: [{metric: validation/accuracy, direction: maximize, at: last}, "
        "{metric: validation/loss, direction: minimize, at: last}]",
        "budget.policy",
        "policy: none",
    ),
    "several objectives at their best": (
        "objective: {metric: validation/accuracy, direction: maximize}",
        "objective: [{metric: validation/accuracy, direction: maximize}, "
        "{metric: validation/loss, direction: minimize, at: last}]",
        "search.objective.0.at",
        "must be `last`",
    ),
    "hours of GPUs that nobody uses": (
        "  trials: 32",
        "  gpu_hours: 1\n  trials: 32",
        "budget.gpu_hours",
        "resources.gpus is 0",
    ),
    "money for GPUs that nobody uses": (
        "  trials: 32",
        "  cost: 2\n  prices: {H100: 4}\n  trials: 32",
        "budget.cost",
        "`cpu: 0.05`",
    ),
    "no rank": ("ranks: 1", "ranks: 0", "resources.ranks", "must be at least 1"),
    "ranks that would share a gpu": (
        "ranks: 1, cpus: 1, gpus: 0",
        "ranks: 2, gpus: 0.5",
        "resources.gpus",
        "a GPU each",
    ),
    "a gpu and a half": ("gpus: 0", "gpus: 1.5", "resources.gpus", "below 1 only"),
    "fuse by another name": ("fuse: auto", "fuse: maybe", "fuse", "allowed: auto, off"),
    "fuse of width zero": ("fuse: auto", "fuse: 0", "fuse", "at least 1"),
    "constraint": ("  sampler: tpe", "  constraints: [parameters = 3]", "search.constraints.0", "is not a constraint"),
    "point with an unknown key": ("  sampler: tpe", "  points: [{network.dpth: 1}]", "network.dpth", "'network.depth'"),
    "point outside": ("  sampler: tpe", "  points: [{network.depth: 7}]", "points.0.network.depth", "from 1 to 3"),
    "prior of itself": ("  sampler: tpe", "  prior: digits", "search.prior", "itself"),
    "prior that is no name": ("  sampler: tpe", "  prior: a/b", "search.prior", "not the name"),
    "grid over a real interval": ("sampler: tpe", "sampler: grid", "network.dropout", "finite number"),
    "key twice": ("  policy: asha", "  policy: asha\n  policy: none", "", "'policy' stands twice"),
    "tab": ("  policy: asha", "\tpolicy: asha", "", "tab"),
    "syntax": ("fuse: auto", "fuse: [auto", "", "not YAML"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_has_one_clear_error(refused, case):
    before, after, key, words = BROKEN[case]
    assert before in DIGITS
    error = refused(DIGITS.replace(before, after, 1))
    assert error.key.endswith(key)
    assert words in error.problem
    assert error.line is not None
    if case in _ELSEWHERE:
        assert DIGITS.replace(before, after, 1).splitlines()[error.line - 1].lstrip().startswith(_ELSEWHERE[case])
    else:
        assert error.line == DIGITS[: DIGITS.index(before)].count("\n") + 1


_ELSEWHERE = {
    "metric without samples": "objective:",
    "several objectives under a policy": "policy:",
    "key twice": "policy:",
    "grid over a real interval": "network.dropout:",
    "syntax": "fuse:",
}


TWO = """objective:
    - {metric: validation/accuracy, direction: maximize, at: last}
    - {metric: validation/loss, direction: minimize, at: last}
"""


@pytest.mark.parametrize(
    ("before", "after", "key", "words"),
    [
        ("", "", None, ""),
        ("sampler: tpe", "sampler: cmaes", "search.sampler", "one objective"),
        ("  trials: 32", "  target: 0.9\n  trials: 32", "budget.target", "single objective"),
        ("validation/loss", "validation/accuracy", "search.objective", "names a metric twice"),
    ],
)
def test_several_objectives(write, before, after, key, words):
    text = DIGITS.replace("objective: {metric: validation/accuracy, direction: maximize}\n", TWO)
    path = write(text.replace("policy: asha", "policy: none").replace(before, after, 1))
    if key is None:
        assert len(read_sweep(path).spec.search.objectives) == 2
        return
    with pytest.raises(SpecError, match=words) as caught:
        read_sweep(path)
    assert caught.value.key == key


@pytest.mark.parametrize(
    ("key", "domain", "words"),
    [
        ("data.batch_size", "{int: [0, 64]}", "holds 0, which data.batch_size refuses: must be at least 1"),
        ("data.batch_size", "{choice: [32, 48]}", "64 is trial 0's value"),
        ("seed", "{int: [-1, 3]}", "holds -1, which seed refuses"),
        ("data.seed", "{int: [0, 3]}", "allowed: data.batch_size"),
    ],
)
def test_settings_outside_of_the_components(refused, key, domain, words):
    error = refused(DIGITS.replace("    network.depth: {int: [1, 3]}", f"    {key}: {domain}"))
    assert words in error.problem


def test_a_built_in_task_needs_data(refused):
    start, end = DIGITS.index("data:"), DIGITS.index("network:")
    error = refused(DIGITS[:start] + DIGITS[end:])
    assert (error.key, error.line) == ("data", 1)


def test_cmaes_needs_a_number(refused):
    start, end = DIGITS.index("    network.depth"), DIGITS.index("budget:")
    error = refused((DIGITS[:start] + DIGITS[end:]).replace("sampler: tpe", "sampler: cmaes"))
    assert error.key == "search.sampler"


def test_a_cycle_through_two_keys(refused):
    text = DIGITS.replace("{int: [1, 3]}", "{int: [1, 3], when: {network.kernel: 3}}")
    text = text.replace("when: {network.kind: convnet}", "when: {network.depth: 2}")
    assert "cycle: network.depth, network.kernel" in refused(text).problem


def test_the_first_error_in_the_file_is_told(refused):
    text = DIGITS.replace("trials: 32", "trials: x").replace("{int: [1, 3]}", "{int: [3, 1]}")
    assert refused(text).key == "search.space.network.depth"


@pytest.mark.parametrize(
    ("text", "words"), [("", "must be a mapping"), ("- a\n", "must be a mapping"), ("3\n", "and is 3")]
)
def test_not_a_mapping(refused, text, words):
    assert words in refused(text).problem


def test_no_such_file(tmp_path):
    with pytest.raises(SpecError, match="there is no such file"):
        read_sweep(tmp_path / "absent.yaml")


def test_not_text(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="not UTF-8"):
        read_sweep(path)


def test_own_tasks_search_free_keys(write, tmp_path):
    (tmp_path / "task.py").touch()
    text = DIGITS.replace("task: classification", "task: task.py:Mine").replace("network.depth:", "trees:")
    spec = read_sweep(write(text)).spec
    assert not spec.is_built_in
    assert "trees" in spec.space().names


def test_own_tasks_cannot_search_what_is_not_a_setting(refused, tmp_path):
    (tmp_path / "task.py").touch()
    text = DIGITS.replace("task: classification", "task: task.py:Mine").replace("network.depth:", "network.deep:")
    assert "did you mean 'network.depth'" in refused(text).problem


def test_a_dict_gets_the_same_checks_without_lines():
    with pytest.raises(SpecError) as caught:
        parse_sweep(
            {
                "sweep": "x",
                "task": "train.py:train",
                "search": {
                    "objective": {"metric": "loss", "direction": "minimize"},
                    "space": {"lr": {"log": [1e-4, 1]}, "b": {"int": [1, 2], "when": {"c": 1}}},
                },
                "budget": {"trials": 2, "epochs": {"max": 3}},
            }
        )
    assert (caught.value.file, caught.value.line) == (None, None)
    assert caught.value.key == "search.space.b.when.c"


def test_equal_names_under_disjoint_conditions(write):
    text = DIGITS.replace(
        "network.depth: {int: [1, 3]}",
        "network.depth:\n      - {int: [1, 3], when: {network.kind: convnet}}\n"
        "      - {int: [1, 8], when: {network.kind: mlp}}",
    )
    space = read_sweep(write(text)).spec.space()
    assert [parameter.name for parameter in space.parameters].count("network.depth") == 2
    assert space.names.count("network.depth") == 1
    broken = text.replace("{int: [1, 8]", "{int: [8, 1]")
    with pytest.raises(SpecError, match="reversed") as caught:
        read_sweep(write(broken))
    assert broken.splitlines()[caught.value.line - 1].strip().startswith("- {int: [8, 1]")


def test_anchors_and_merges_keep_working(write):
    text = DIGITS.replace("penalty.l1: {log: [1e-7, 1e-3]}", "penalty.l1: &small {log: [1e-7, 1e-3]}")
    text = text.replace("penalty.l2: {log: [1e-7, 1e-2]}", "penalty.l2: *small")
    spec = read_sweep(write(text)).spec
    assert spec.search.space["penalty.l1"] == spec.search.space["penalty.l2"]


@pytest.mark.parametrize(
    ("settings", "name"),
    [("optimizer: {kind: lamb}", "optimizer.kind: lamb"), ("initializer: {scheme: lsuv}", "initializer.scheme: lsuv")],
)
def test_what_needs_whole_parameters_is_not_sharded(refused, write, settings, name):
    key = name.partition(":")[0]
    text = "\n".join(line for line in DIGITS.splitlines() if key not in line) + f"\n{settings}\n"
    read_sweep(write(text))
    sharded = refused(text.replace("gpus: 0}", "gpus: 0, strategy: sharded}"))
    assert (sharded.key, sharded.problem.partition(" needs")[0]) == ("resources.strategy", f"is sharded, and {name}")
    searched = DIGITS.replace("gpus: 0}", "gpus: 0, strategy: sharded}").replace("adadelta]", "adadelta, lamb]")
    assert "lamb needs whole" in refused(searched).problem


def test_seeds_are_searched(write):
    text = DIGITS.replace("    penalty.l1: ", "    seed: {choice: [0, 1, 2]}\n    penalty.l1: ")
    assert "seed" in read_sweep(write(text)).spec.space().names


def test_the_path_may_be_text(write):
    path = write(DIGITS)
    assert read_sweep(str(path)).path == Path(path)


@pytest.mark.parametrize(
    "text", ["[1", "9" * 5000, f"0x{'f' * 5000}", "[" * 900, "2020-99-99", "\t- a\n\t- b"], ids=range(6)
)
def test_a_text_that_is_no_value_is_told_of(text):
    with pytest.raises(SpecError, match="cannot be read"):
        parse_value(text)


@pytest.mark.parametrize("text", ["9" * 5000, "2020-99-99", "[" * 5000], ids=range(3))
def test_an_override_that_is_no_value_is_told_of(write, text):
    with pytest.raises(SpecError) as error:
        read_sweep(write(DIGITS), [f"budget.trials={text}"])
    assert error.value.key == "budget.trials"
