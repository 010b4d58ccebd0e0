"""The stack and its hand-written step, against PyTorch's own layers, autograd and optimizer."""

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, log_loss
from torch import Tensor, nn

from stages.training.pixels import Pixels
from stages.training.sgd import Pass, StochasticGradientDescent
from stages.training.stack import Scores, Stack, score
from stages.training.training_log import Steps

WIDTHS = (12, 9, 7, 10)
SEEDS = (3, 4, 5)
BATCH = 8


def reference(seed: int, widths: tuple[int, ...] = WIDTHS) -> nn.Sequential:
    """Build one network as one would without a stack."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def parameters(stack: Stack, network: int) -> list[Tensor]:
    """List one network's parameters in the shape and order of `nn.Module.parameters`."""
    return [
        values
        for weight, bias in zip(stack.weights, stack.biases, strict=True)
        for values in (weight[network].T, bias[network, 0])
    ]


def drawn(examples: int, generator: torch.Generator) -> Pixels:
    """Draw images that are read in float64, with a mean near 0 and a deviation near 1."""
    images = torch.randint(256, (examples, WIDTHS[0]), dtype=torch.uint8, generator=generator)
    return Pixels(images, scale=1 / 74, shift=torch.tensor([-1.7], dtype=torch.float64))


def planned(examples: int = 20, rates: tuple[float, ...] = (0.1, 0.2, 0.4), seed: int = 0) -> Pass:
    """Draw examples, an order for each network, and plan a pass over them in float64."""
    generator = torch.Generator().manual_seed(seed)
    inputs = drawn(examples, generator)
    labels = torch.randint(10, (examples,), generator=generator)
    order = torch.stack([torch.randperm(examples, generator=generator) for _ in rates])
    steps = math.ceil(examples / BATCH)
    by_step = torch.tensor([rates] * steps, dtype=torch.float64)
    return Pass(inputs, labels[order], order, by_step, BATCH)


def take_steps(stack: Stack, this: Pass, clip_norm: float | None = None) -> None:
    """Run a whole pass."""
    this.start(stack)
    descent = StochasticGradientDescent(stack, clip_norm)
    for step in range(len(this.rates)):
        descent.step(this, step)


def only(this: Pass, part: slice) -> Pass:
    """Plan the same pass for some networks of the stack."""
    return Pass(this.inputs, this.labels[part], this.order[part], this.rates[:, part], this.batch)


def test_initial_weights_are_those_of_the_default_layers() -> None:
    stack = Stack.initialized(WIDTHS, SEEDS)
    for network, seed in enumerate(SEEDS):
        for ours, theirs in zip(
            parameters(stack, network), reference(seed).parameters(), strict=True
        ):
            assert torch.equal(ours, theirs)


def test_initialization_leaves_the_global_random_state_alone() -> None:
    before = torch.random.get_rng_state()
    Stack.initialized(WIDTHS, SEEDS)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("clip_norm", [None, 0.5, 1e6])
def test_steps_are_those_of_autograd_and_torch_sgd(clip_norm: float | None) -> None:
    stack = Stack.initialized(WIDTHS, SEEDS).to(torch.float64)
    this = planned()
    take_steps(stack, this, clip_norm)
    for network, seed in enumerate(SEEDS):
        model = reference(seed).double()
        optimizer = torch.optim.SGD(model.parameters(), lr=float(this.rates[0, network]))
        for step in range(len(this.rates)):
            part = this.examples_of(step)
            logits = model(this.inputs[this.order[network, part]])
            truth = this.labels[network, part]
            loss = nn.functional.cross_entropy(logits, truth)
            optimizer.zero_grad()
            loss.backward()
            norms = [
                math.sqrt(sum(float(values.grad.square().sum()) for values in layer.parameters()))
                for layer in model
                if isinstance(layer, nn.Linear)
            ]
            if clip_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
            optimizer.step()
            norm = math.hypot(*norms)
            ours = this.layer_gradient_norms[step, :, network].tolist()
            assert ours == pytest.approx(norms, rel=1e-9)
            assert float(this.gradient_norms()[step, network]) == pytest.approx(norm, rel=1e-9)
            assert float(this.step_losses()[step, network]) == pytest.approx(
                float(loss.detach()), rel=1e-12
            )
            assert torch.equal(
                this.predictions.correct[network, part], logits.argmax(dim=1) == truth
            )
        for ours, theirs in zip(parameters(stack, network), model.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs.detach(), rtol=1e-10, atol=1e-12)


def test_norms_of_examples_are_those_of_autograd() -> None:
    stack = Stack.initialized(WIDTHS, SEEDS).to(torch.float64)
    this = planned()
    take_steps(stack, this)
    for network, seed in enumerate(SEEDS):
        model = reference(seed).double()
        optimizer = torch.optim.SGD(model.parameters(), lr=float(this.rates[0, network]))
        for step in range(len(this.rates)):
            part = this.examples_of(step)
            squared = []
            for example, truth in zip(
                this.order[network, part], this.labels[network, part], strict=True
            ):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(this.inputs[example]), truth).backward()
                gradients = [values.grad for values in model.parameters()]
                squared.append(sum(float(gradient.square().sum()) for gradient in gradients))
            expected = math.sqrt(sum(squared) / len(squared))
            assert float(this.example_norms()[step, network]) == pytest.approx(expected, rel=1e-9)
            optimizer.zero_grad()
            logits = model(this.inputs[this.order[network, part]])
            nn.functional.cross_entropy(logits, this.labels[network, part]).backward()
            optimizer.step()


@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_norms_of_steps_and_parameters_are_those_of_the_moves(clip_norm: float | None) -> None:
    stack = Stack.initialized(WIDTHS, SEEDS).to(torch.float64)
    this = planned()
    this.start(stack)
    descent = StochasticGradientDescent(stack, clip_norm)
    positions = []
    for step in range(len(this.rates)):
        positions.append([torch.cat([p.flatten() for p in parameters(stack, r)]) for r in range(3)])
        descent.step(this, step)
    positions.append([torch.cat([p.flatten() for p in parameters(stack, r)]) for r in range(3)])
    for step in range(len(this.rates)):
        for network in range(3):
            before, after = positions[step][network], positions[step + 1][network]
            assert float(this.parameter_norms()[step, network]) == pytest.approx(
                float(before.norm()), rel=1e-12
            )
            moved = this.scales[step, network] * this.gradient_norms()[step, network]
            assert float(moved) == pytest.approx(float((after - before).norm()), rel=1e-9)


@pytest.mark.parametrize("networks", [1, 2, 3, 5])
@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_a_network_has_the_same_bits_whoever_shares_the_stack(
    networks: int, clip_norm: float | None
) -> None:
    """At the size of the study; the eighth network of the stack of eight explodes."""
    whole, together = study_pass(8)
    take_steps(together, whole, clip_norm)
    for first in range(0, 8, networks):
        part = slice(first, min(first + networks, 8))
        _, alone = study_pass(8)
        alone = alone.only(torch.arange(8)[part])
        this = only(whole, part)
        take_steps(alone, this, clip_norm)
        for name, values in alone.arrays().items():
            assert np.array_equal(values, together.arrays()[name][part], equal_nan=True)
        for ours, theirs in (
            (this.measures, whole.measures[..., part]),
            (this.logits, whole.logits[part]),
            (this.parameter_norms(), whole.parameter_norms()[:, part]),
            (this.step_losses(), whole.step_losses()[:, part]),
        ):
            assert np.array_equal(ours.numpy(), theirs.numpy(), equal_nan=True)


def study_pass(networks: int) -> tuple[Pass, Stack]:
    """Plan a short pass over random images at the size and in the type of the study."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(256, (150, 784), dtype=torch.uint8, generator=generator)
    labels = torch.randint(10, (150,), generator=generator)
    order = torch.stack([torch.randperm(150, generator=generator) for _ in range(networks)])
    rates = torch.linspace(0.05, 0.6, networks).expand(5, -1)
    rates = torch.where(torch.arange(networks) == 7, 1e6, rates)
    inputs = Pixels(images, scale=1 / 74, shift=torch.tensor([-1.7]))
    this = Pass(inputs, labels[order], order, rates, 32)
    return this, Stack.initialized((784, 256, 128, 10), range(networks))


@pytest.mark.parametrize("rate", [0.5, 0.6])
def test_norms_are_those_of_float64_up_to_the_last_finite_step(rate: float) -> None:
    """Some of these networks explode; their squared norms leave float32 long before the norms."""
    digits = load_digits()
    images = np.kron(digits.images * 15, np.ones((3, 3))).astype(np.uint8)
    inputs = Pixels.normalized(images, 0.3, 0.15, torch.device("cpu"))
    networks, steps = 8, 40
    generator = torch.Generator().manual_seed(0)
    order = torch.stack([torch.randperm(1280, generator=generator) for _ in range(networks)])
    labels = torch.from_numpy(digits.target)[order]
    stack = Stack.initialized((576, 256, 128, 10), range(networks))
    this = Pass(inputs, labels, order, torch.full((steps, networks), rate), 32)
    this.start(stack)
    descent = StochasticGradientDescent(stack)
    gradient, before = np.empty((2, steps, networks))
    for step in range(steps):
        for network in range(networks):
            gradient[step, network], before[step, network] = norms_in_float64(
                parameters(stack, network), inputs, this, step, network
            )
        descent.step(this, step)
    found = Steps.of(this)
    finite = (found.loss.isfinite() & (torch.from_numpy(gradient) < 3e38)).numpy()
    assert not finite.all()
    assert gradient[finite].max() > 1e20
    np.testing.assert_allclose(found.gradient_norm.numpy()[finite], gradient[finite], rtol=1e-3)
    np.testing.assert_allclose(this.parameter_norms().numpy()[finite], before[finite], rtol=1e-5)
    updates = rate * gradient / before
    np.testing.assert_allclose(found.relative_update.numpy()[finite], updates[finite], rtol=1e-3)


def norms_in_float64(
    values: list[Tensor], inputs: Pixels, this: Pass, step: int, network: int
) -> tuple[float, float]:
    """Compute the norms of one network's gradient and parameters by autograd."""
    values = [each.double().requires_grad_() for each in values]
    part = this.examples_of(step)
    hidden = inputs[this.order[network, part]].double()
    for weight, bias in zip(values[:-2:2], values[1:-2:2], strict=True):
        hidden = nn.functional.linear(hidden, weight, bias).relu()
    logits = nn.functional.linear(hidden, *values[-2:])
    loss = nn.functional.cross_entropy(logits, this.labels[network, part])
    gradients = torch.autograd.grad(loss, values)
    return tuple(
        float(torch.cat([each.detach().flatten() for each in parts]).norm())
        for parts in (gradients, values)
    )


def test_clipping_bounds_a_gradient_whose_square_overflows() -> None:
    stack = Stack.initialized((784, 256, 128, 10), range(3))
    stack.weights[2][1] *= 1e22
    this, _ = study_pass(3)
    this = Pass(this.inputs, this.labels, this.order, torch.full((1, 3), 0.5), 32)
    this.start(stack)
    descent = StochasticGradientDescent(stack, clip_norm=2.0)
    descent.step(this, 0)
    norms = this.gradient_norms()[0]
    assert 1e19 < float(norms[1]) < torch.inf
    bounded = (this.scales[0] * norms).tolist()
    assert bounded == pytest.approx([0.5 * min(2, norm) for norm in norms.tolist()], rel=1e-4)


def test_the_norm_of_parameters_overflows_no_earlier_than_they_do() -> None:
    stack = Stack.initialized(WIDTHS, SEEDS)
    expected = [
        torch.cat([each.double().flatten() for each in parameters(stack, network)]).norm()
        for network in range(3)
    ]
    for part in (*stack.weights, *stack.biases):
        part[1] *= 1e30
        part[2] *= 1e-30
    scaled = [float(norm) * scale for norm, scale in zip(expected, (1, 1e30, 1e-30), strict=True)]
    assert stack.norms().tolist() == pytest.approx(scaled, rel=1e-6)
    for part in (*stack.weights, *stack.biases):
        part[0] = 0
    assert stack.norms()[0] == 0


def test_a_stack_of_many_layers_is_recreated_of_its_arrays() -> None:
    stack = Stack.initialized((12, *[9] * 11, 10), SEEDS)
    again = Stack.from_arrays(stack.arrays())
    assert again.widths == (12, *[9] * 11, 10)
    inputs = drawn(5, torch.Generator().manual_seed(0))[:].float()
    assert torch.equal(again.logits(inputs), stack.logits(inputs))


def test_arrays_are_copies() -> None:
    stack = Stack.initialized(WIDTHS, SEEDS)
    arrays = stack.arrays()
    before = arrays["weight_1"].copy()
    stack.weights[1].zero_()
    assert list(arrays) == ["weight_0", "weight_1", "weight_2", "bias_0", "bias_1", "bias_2"]
    assert np.array_equal(arrays["weight_1"], before)


def test_networks_are_taken_out_and_put_back() -> None:
    stack, other = Stack.initialized(WIDTHS, SEEDS), Stack.initialized(WIDTHS, (8, 9))
    chosen = torch.tensor([True, False, True])
    untouched = stack.only(torch.tensor([1]))
    stack.put(chosen, other)
    assert stack.size == 3
    for ours, theirs in ((stack.only(chosen), other), (stack.only(~chosen), untouched)):
        for name, values in ours.arrays().items():
            assert np.array_equal(values, theirs.arrays()[name])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_number_makes_a_network_not_finite(value: float) -> None:
    stack = Stack.initialized(WIDTHS, SEEDS)
    assert stack.finite().tolist() == [True, True, True]
    stack.weights[0][2, 3, 4] = value
    stack.biases[1][0, 0, 6] = value
    assert stack.finite().tolist() == [False, True, False]


def test_scores_find_their_places_in_a_larger_stack() -> None:
    scores = Scores(*torch.tensor([[1.5, 2.5], [0.3, 0.4], [60.0, 70.0]], dtype=torch.float64))
    spread = scores.spread(torch.tensor([1, 3]), 4, accuracy=0.1)
    assert spread.accuracy.tolist() == [0.1, 0.3, 0.1, 0.4]
    for values, expected in ((spread.loss, [1.5, 2.5]), (spread.mape, [60.0, 70.0])):
        assert values[[1, 3]].tolist() == expected
        assert values[[0, 2]].isnan().all()


def test_a_network_that_diverges_leaves_the_others_untouched() -> None:
    calm, wild = planned(rates=(0.1, 0.1, 0.1)), planned(rates=(0.1, 1e200, 0.1))
    stack, disturbed = (Stack.initialized(WIDTHS, SEEDS).to(torch.float64) for _ in range(2))
    take_steps(stack, calm)
    take_steps(disturbed, wild)
    assert not wild.step_losses()[-1, 1].isfinite()
    for network in (0, 2):
        assert torch.equal(
            wild.predictions.log_likelihood[network], calm.predictions.log_likelihood[network]
        )
        for ours, theirs in zip(
            parameters(disturbed, network), parameters(stack, network), strict=True
        ):
            assert torch.equal(ours, theirs)


def test_evaluation_agrees_with_scikit_learn() -> None:
    stack = Stack.initialized(WIDTHS, SEEDS).to(torch.float64)
    inputs = drawn(23, torch.Generator().manual_seed(0))
    labels = torch.arange(23) % 10
    scores = score(stack.predict(inputs, labels, chunk=7))
    for network, seed in enumerate(SEEDS):
        with torch.no_grad():
            probabilities = reference(seed).double()(inputs[:]).softmax(dim=1).numpy()
        truth = labels.numpy()
        assert float(scores.loss[network]) == pytest.approx(log_loss(truth, probabilities))
        assert float(scores.accuracy[network]) == pytest.approx(
            accuracy_score(truth, probabilities.argmax(axis=1))
        )
        assert float(scores.mape[network]) == pytest.approx(
            100 * abs(1 - probabilities[range(23), truth]).mean()
        )


def test_no_step_reads_back_from_the_device() -> None:
    """Tensors without data refuse to be read; a step that waited for its device would fail."""
    stack = Stack.initialized(WIDTHS, SEEDS).to(torch.device("meta"))
    this = planned()
    rates = this.rates.to("meta", torch.float32)
    images, labels, order = (
        each.to("meta") for each in (this.inputs.bytes, this.labels, this.order)
    )
    inputs = Pixels(images, scale=1 / 74, shift=torch.empty(1, device="meta"))
    this = Pass(inputs, labels, order, rates, BATCH)
    with torch.inference_mode():
        take_steps(stack, this, clip_norm=1.0)
        predictions = stack.predict(inputs, labels[0])
    assert this.scales.device.type == predictions.correct.device.type == "meta"
    with pytest.raises(RuntimeError, match="meta"):
        bool(this.scales[0, 0] > 0)
