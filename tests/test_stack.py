"""The stack and its hand-written step, against PyTorch's own layers, autograd and optimizer."""

import itertools
import math

import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss
from torch import Tensor, nn

from stages.core.pixels import Pixels
from stages.core.sgd import Pass, StochasticGradientDescent
from stages.core.stack import Stack, score

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


def only(this: Pass, network: int) -> Pass:
    """Plan the same pass for one network of the stack."""
    one = slice(network, network + 1)
    return Pass(this.inputs, this.labels[one], this.order[one], this.rates[:, one], this.batch)


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
            squared = [
                sum(float(values.grad.square().sum()) for values in layer.parameters())
                for layer in model
                if isinstance(layer, nn.Linear)
            ]
            if clip_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
            optimizer.step()
            norm = math.sqrt(sum(squared))
            assert this.squared_norms[step, :, network].tolist() == pytest.approx(squared, rel=1e-9)
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
            mean = sum(squared) / len(squared)
            assert float(this.example_squared_norms[step, network]) == pytest.approx(mean, rel=1e-9)
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


def test_a_network_learns_the_same_alone_and_in_a_stack() -> None:
    together = Stack.initialized(WIDTHS, SEEDS).to(torch.float64)
    this = planned()
    take_steps(together, this)
    for network, seed in enumerate(SEEDS):
        alone = Stack.initialized(WIDTHS, [seed]).to(torch.float64)
        take_steps(alone, only(this, network))
        for ours, theirs in zip(parameters(together, network), parameters(alone, 0), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)


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
