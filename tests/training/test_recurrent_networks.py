"""Networks that read and write series, auto-encoders and their tasks."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score
from torch import Tensor, nn
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal, Normal, kl_divergence
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from podium.data.manifest import Schema
from podium.errors import SpecError
from podium.spec.networks import NetworkSettings
from podium.training.metrics import Skill
from podium.training.task import Batch
from podium.training.tasks import TASKS
from podium.training.tasks.sequence_generation import divergence, negative_log_likelihood
from podium.training.toolbox.chance import begin_epoch, begin_step, sites
from podium.training.toolbox.layers import replace_layers
from podium.training.toolbox.mixtures import choice, drawn, log_density
from podium.training.toolbox.networks import make_network
from podium.training.toolbox.networks.recurrent import CELLS, RecurrentLayers, turned
from podium.training.toolbox.networks.sketch_rnn import Sketched, SketchRnn, generate
from podium.training.toolbox.recurrent import unroll_recurrent

LENGTHS = torch.tensor([6, 2, 4])
SERIES = torch.randn(3, 6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
SERIES[torch.arange(6) >= LENGTHS[:, None]] = 0


def build(kind: str, inputs: tuple[int, ...] = (6, 3), outputs: int = 4, **settings: Any) -> nn.Module:
    named = {f"network.{key}": value for key, value in {"kind": kind, "width": 4, **settings}.items()}
    torch.manual_seed(0)
    return make_network(named, inputs, outputs).double()


@pytest.mark.parametrize("is_bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_layers_are_those_of_torch_on_packed_series(cell: str, is_bidirectional: bool) -> None:
    settings = NetworkSettings(depth=2, width=4, bidirectional=is_bidirectional)
    ours = RecurrentLayers(cell, 3, settings).double()
    theirs = CELLS[cell](3, 4, 2, batch_first=True, bidirectional=is_bidirectional).double()
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            own, number = name.removesuffix("_reverse"), int(name[name.index("_l") + 2])
            layers = ours.backwards if own != name else ours.forwards
            parameter.copy_(layers[number].get_parameter(f"{own[:-1]}0"))
    packed = pack_padded_sequence(SERIES, LENGTHS, batch_first=True, enforce_sorted=False)
    outputs, states = theirs(packed)
    expected = pad_packed_sequence(outputs, batch_first=True)[0]
    is_there = (torch.arange(6) < LENGTHS[:, None]).unsqueeze(2)
    torch.testing.assert_close(ours(SERIES, LENGTHS) * is_there, expected)
    state = states[0] if isinstance(states, tuple) else states
    ends = state[-2:].movedim(0, 1).flatten(1) if is_bidirectional else state[-1]
    torch.testing.assert_close(ours.summary(SERIES, LENGTHS), ends)


def test_series_are_turned_by_their_own_lengths() -> None:
    found = turned(torch.tensor([[[1.0], [2.0], [3.0]], [[1.0], [2.0], [9.0]]]), torch.tensor([3, 2]))
    assert found.squeeze(2).tolist() == [[3, 2, 1], [2, 1, 9]]


@pytest.mark.parametrize("settings", [{}, {"bidirectional": True}])
@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru", "seq2seq"])
def test_a_series_says_the_same_however_far_it_is_filled_up(kind: str, settings: dict[str, Any]) -> None:
    network = build(kind, **settings)
    for row, length in enumerate(LENGTHS.tolist()):
        alone = network(SERIES[row : row + 1, :length], LENGTHS[row : row + 1])
        torch.testing.assert_close(network(SERIES, LENGTHS)[row : row + 1], alone)
    torch.testing.assert_close(network(SERIES), network(SERIES.unsqueeze(1), torch.full((3,), 6)))


def test_a_seq2seq_feeds_what_it_wrote() -> None:
    network = build("seq2seq", outputs=6, horizon=3, cell="gru", depth=1)
    state, step, written = network.start(network.encoder.summary(SERIES)), torch.zeros(3, 1, 2).double(), []
    for _ in range(3):
        hidden, state = network.decoder(step, state)
        step = network.head(hidden)
        written.append(step.squeeze(1))
    torch.testing.assert_close(network(SERIES), torch.cat(written, dim=1))


STACKED: list[tuple[str, tuple[int, ...], dict[str, Any]]] = [
    ("rnn", (6, 3), {"dropout": 0.3}),
    ("lstm", (6, 3), {"dropout": 0.3, "bidirectional": True}),
    ("gru", (6, 3), {"dropout": 0.3}),
    ("seq2seq", (6, 3), {"dropout": 0.3, "cell": "lstm"}),
    ("sketch_rnn", (6, 5), {"dropout": 0.3, "latent": 3, "mixtures": 2}),
    ("sparse_autoencoder", (6, 3), {}),
]


@pytest.mark.parametrize(("kind", "shape", "settings"), STACKED)
def test_two_in_a_stack_are_each_alone(kind: str, shape: tuple[int, ...], settings: dict[str, Any]) -> None:
    networks = [build(kind, shape, **settings) for _ in range(2)]
    with torch.no_grad():
        for parameter in networks[1].parameters():
            parameter.mul_(1.3)
    inputs = SERIES if shape == (6, 3) else torch.cat([SERIES, SERIES[..., :2]], dim=2)
    arguments = (inputs, LENGTHS) if getattr(networks[0], "takes_lengths", False) else (inputs,)
    for seed, network in enumerate(networks):
        begin_epoch(sites(network), seed, 0)
        begin_step(sites(network), torch.arange(3))
    template = copy.deepcopy(networks[0])
    unroll_recurrent(template)
    replace_layers(template)
    begin_step(sites(template), torch.arange(3))
    parameters, buffers = stack_module_state(networks)

    def lane(own: dict[str, Tensor], fixed: dict[str, Tensor]) -> Any:
        outputs = functional_call(template, {**own, **fixed}, arguments)
        return tuple(outputs) if isinstance(outputs, tuple) else (outputs,)

    found = vmap(lane)(parameters, buffers)
    gradients = torch.autograd.grad(sum(each.square().sum() for each in found), list(parameters.values()))
    for number, network in enumerate(networks):
        outputs = network(*arguments)
        alone = tuple(outputs) if isinstance(outputs, tuple) else (outputs,)
        for one, other in zip(found, alone, strict=True):
            torch.testing.assert_close(one[number], other, atol=1e-9, rtol=0)
        sum(each.square().sum() for each in alone).backward()
        for (name, parameter), gradient in zip(network.named_parameters(), gradients, strict=True):
            expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            torch.testing.assert_close(gradient[number], expected, atol=1e-9, rtol=1e-9, msg=name)
    if settings.get("dropout"):
        assert not torch.equal(networks[0](*arguments)[0], networks[0].eval()(*arguments)[0])


def test_a_mixtures_density_is_that_of_torch() -> None:
    outputs = torch.randn(7, 6 * 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    points = torch.randn(7, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    logits, *means, log_x, log_y, slant = outputs.chunk(6, dim=1)
    x, y, rho = log_x.exp(), log_y.exp(), slant.tanh()
    covariance = torch.stack([x * x, rho * x * y, rho * x * y, y * y], dim=2).view(7, 3, 2, 2)
    normal = MultivariateNormal(torch.stack(means, dim=2), covariance)
    expected = MixtureSameFamily(Categorical(logits=logits), normal).log_prob(points)
    torch.testing.assert_close(log_density(outputs, points), expected)


def test_a_density_stays_finite_at_the_ends_of_its_numbers() -> None:
    outputs = torch.tensor([[0.0, 0.0, 0.0, -90.0, -90.0, 9.0]], requires_grad=True)
    density = log_density(outputs, torch.tensor([[1.0, 1.0]]))
    density.sum().backward()
    assert torch.isfinite(density).all()
    assert torch.isfinite(outputs.grad).all()


def test_drawn_points_have_the_mixtures_moments() -> None:
    count = 20_000
    numbers = [2.0, 0.0, 1.0, -2.0, 0.5, 3.0, 0.2, -0.5, 0.1, -0.3, 0.7, -0.4]
    outputs = torch.tensor(numbers, dtype=torch.float64).expand(count, -1)
    source = torch.Generator().manual_seed(3)
    chances = torch.rand(count, generator=source, dtype=torch.float64)
    points = drawn(outputs, chances, torch.randn(count, 2, generator=source, dtype=torch.float64))
    weights, x, y, log_x, log_y, slant = torch.tensor(numbers, dtype=torch.float64).chunk(6)
    share = torch.softmax(weights, 0)
    mean = torch.stack([(share * x).sum(), (share * y).sum()])
    cross = (share * (slant.tanh() * (log_x + log_y).exp() + (x - mean[0]) * (y - mean[1]))).sum()
    torch.testing.assert_close(points.mean(0), mean, atol=0.04, rtol=0)
    torch.testing.assert_close(torch.cov(points.T)[0, 1], cross, atol=0.06, rtol=0)
    assert choice(torch.tensor([[0.0, 1.0]]), torch.tensor([0.3]), temperature=0.05).tolist() == [1]


def drawings() -> tuple[Tensor, Tensor]:
    inputs = torch.zeros(2, 5, 5, dtype=torch.float64)
    inputs[0, :, :2] = torch.tensor([[1, 0], [0, 1], [-1, 0], [0, -1], [0, 0]])
    inputs[0, :, 2] = torch.tensor([1, 1, 0, 1, 0])
    inputs[0, 2, 3] = inputs[0, 4, 4] = 1
    inputs[1, :2] = torch.tensor([[2, 1, 1, 0, 0], [0, 0, 0, 0, 1]])
    return inputs, torch.tensor([5, 2])


def test_the_loss_of_a_drawing_is_as_published() -> None:
    inputs, lengths = drawings()
    values = {"loss.kl_weight": 0.7, "loss.kl_floor": 0.9}
    source = torch.Generator().manual_seed(4)
    sizes = [(2, 5, 6 * 2 + 3), (2, 3), (2, 3)]
    outputs = Sketched(*(torch.randn(size, dtype=torch.float64, generator=source) for size in sizes))
    batch = Batch(inputs, torch.zeros(2), values, lengths)
    pens = Categorical(logits=outputs.steps[1, :2, -3:]).log_prob(torch.tensor([0, 2]))
    expected = -(log_density(outputs.steps[1, :1, :-3], inputs[1, :1, :2]).sum() + pens.sum()) / 2
    torch.testing.assert_close(negative_log_likelihood(outputs, batch)[1], expected)
    code = Normal(outputs.mean, (0.5 * outputs.log_variance).exp())
    kl = kl_divergence(code, Normal(torch.zeros_like(code.mean), torch.ones_like(code.mean))).mean(dim=1)
    torch.testing.assert_close(divergence(outputs), kl)
    losses = TASKS["sequence_generation"]().losses(outputs, batch)
    torch.testing.assert_close(losses, negative_log_likelihood(outputs, batch) + 0.7 * kl.clamp_min(0.9))


def test_a_drawing_is_read_to_its_end_and_written_from_what_was_before() -> None:
    network = build("sketch_rnn", (5, 5), latent=3, mixtures=2).eval()
    inputs, lengths = drawings()
    both, alone = network(inputs, lengths), network(inputs[1:, :2], lengths[1:])
    torch.testing.assert_close(both.mean[1:], alone.mean)
    torch.testing.assert_close(both.steps[1:, :2], alone.steps)
    with torch.no_grad():
        network.start.linear.weight.zero_()
        network.code.weight.zero_()  # what is read does not matter any more
    changed = inputs.clone()
    changed[0, 3] += 1
    before, after = network(inputs, lengths).steps, network(changed, lengths).steps
    torch.testing.assert_close(before[0, :4], after[0, :4])
    assert not torch.equal(before[0, 4], after[0, 4])


def test_drawings_that_are_made_up_follow_from_the_seed() -> None:
    network = build("sketch_rnn", (5, 5), latent=3, mixtures=2).float().eval()
    assert isinstance(network, SketchRnn)
    one, same, other = (generate(network, 4, seed, longest=40) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert all(drawing.shape[1] == 3 and set(drawing[:, 2].tolist()) <= {0.0, 1.0} for drawing in one)
    assert {len(drawing) for drawing in one} != {40}, "they end by themselves"
    few = generate(network, 2, 0, longest=40)
    assert all(torch.equal(a, b) for a, b in zip(few, one, strict=False)), "a drawing depends on no other"


def test_a_sparse_autoencoder_by_hand() -> None:
    network = build("sparse_autoencoder", (2,), width=4, pool=2)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [3.0, 4.0]]))
    outputs = network(torch.tensor([[3.0, 4.0]], dtype=torch.float64))
    torch.testing.assert_close(outputs.decoded, torch.tensor([[4.5, 4.0]]).double())
    torch.testing.assert_close(outputs.pooled, torch.tensor([[5.0, 34**0.5]], dtype=torch.float64))
    torch.testing.assert_close(outputs.pooled, network.encode(torch.tensor([[3.0, 4.0]], dtype=torch.float64)))
    batch = Batch(torch.tensor([[3.0, 4.0]]).double(), torch.zeros(1), {"loss.sparsity": 0.1})
    task = TASKS["reconstruction"]()
    torch.testing.assert_close(
        task.losses(outputs, batch), torch.tensor([1.125 + 0.1 * (5 + 34**0.5) / 2], dtype=torch.float64)
    )
    metrics = task.metrics()
    with torch.no_grad():
        for metric in metrics.values():
            metric.update(outputs, batch)
    assert metrics["mse"].compute() == pytest.approx(1.125)
    assert metrics["sparsity"].compute() == pytest.approx((5 + 34**0.5) / 2)
    torch.testing.assert_close(task.losses(batch.inputs + 2, batch), torch.tensor([4.0]).double())


def test_skill_is_the_coefficient_of_determination() -> None:
    source = np.random.default_rng(0)
    targets = source.normal(3, 2, (40, 3))
    outputs = targets + source.normal(size=(40, 3))
    parts = [Skill(), Skill()]
    for part, rows in zip(parts, (slice(0, 25), slice(25, 40)), strict=True):
        numbers = torch.from_numpy(targets[rows])
        part.update(torch.from_numpy(outputs[rows]), Batch(torch.zeros(len(numbers), 1), numbers, {}))
    parts[0].merge(parts[1])
    assert parts[0].compute() == pytest.approx(r2_score(targets.ravel(), outputs.ravel()))
    assert np.isnan(Skill().compute())


def schema(inputs: tuple[int, ...], **settings: Any) -> Schema:
    given = {"targets": (), "target_dtype": "float32", "classes": 0, "normalize": True, **settings}
    return Schema(inputs=inputs, input_dtype="float32", mean=(0.0,), std=(1.0,), **given)


REFUSED: list[tuple[str, Schema, dict[str, Any], str]] = [
    ("forecasting", schema((6, 3), classes=2), {}, r"^task: is forecasting, .* 2 classes"),
    ("forecasting", schema((6,)), {"kind": "lstm"}, r"^network.kind: is lstm, which takes .*\(6,\)"),
    (
        "regression",
        schema((6, 3), targets=(4,)),
        {"kind": "seq2seq", "horizon": 3},
        r"^network.horizon: is 3, .* 4 num",
    ),
    ("regression", schema((6, 5)), {"kind": "sketch_rnn"}, r"^network.kind: is sketch_rnn, which gives its inputs"),
    ("reconstruction", schema((6, 3), series=True), {}, r"^data.series: is on"),
    ("reconstruction", schema((6, 3)), {"kind": "sparse_autoencoder", "width": 3}, r"^network.pool: is 2, .*width, 3"),
    ("sequence_generation", schema((6, 3), series=True), {"kind": "sketch_rnn"}, r"^task: .* \(6, 3\)"),
    ("sequence_generation", schema((6, 5), series=True), {"kind": "sketch_rnn"}, r"^data.normalize: is on"),
    ("sequence_generation", schema((6, 5), series=True, normalize=False), {}, r"^network.kind: is mlp"),
]


@pytest.mark.parametrize(("task", "data", "settings", "message"), REFUSED)
def test_what_does_not_fit_is_refused(task: str, data: Schema, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        TASKS[task]().network({f"network.{key}": value for key, value in settings.items()}, data)


def test_a_forecast_has_the_targets_steps() -> None:
    data = schema((6, 3), targets=(4, 2))
    network = TASKS["forecasting"]().network({"network.kind": "seq2seq"}, data)
    assert network(SERIES.float()).shape == (3, 8)
    assert network.head.out_features == 2
