"""JAX as a contestant: a whole pass in one jitted `lax.scan`. Needs `pip install jax`."""

from typing import Any

import jax
import numpy as np
import torch
from jax import numpy as jnp

from benchmarks.contestants import BATCH, RATE, WIDTHS, Contestant, Data
from stages.training.stack import Stack, score


class Jax(Contestant):
    """JAX: a whole pass in one jitted `lax.scan`, one network or several under `vmap`."""

    way = "JAX"

    def __init__(self, data: Data, networks: int, threads: int) -> None:
        super().__init__(f"JAX, jitted scan, {networks} network(s)", threads)
        self.data, self.networks = data, networks
        self.inputs, self.targets = jnp.asarray(data.inputs), jnp.asarray(data.labels, jnp.int32)
        stack = Stack.initialized(WIDTHS, range(networks))
        self.weights = [jnp.asarray(each) for each in stack.weights]
        self.biases = [jnp.asarray(each[:, 0]) for each in stack.biases]

        def loss(parameters: Any, inputs: Any, targets: Any) -> Any:
            *hidden, last = zip(*parameters, strict=True)
            for weight, bias in hidden:
                inputs = jax.nn.relu(inputs @ weight + bias)
            chances = jax.nn.log_softmax(inputs @ last[0] + last[1])
            return -jnp.take_along_axis(chances, targets[:, None], axis=1).mean()

        def one(parameters: Any, order: Any) -> Any:
            def step(now: Any, chosen: Any) -> Any:
                slope = jax.grad(loss)(now, self.inputs[chosen], self.targets[chosen])
                return jax.tree.map(lambda value, part: value - RATE * part, now, slope), None

            return jax.lax.scan(step, parameters, order)[0]

        self.train = jax.jit(jax.vmap(one) if networks > 1 else one)
        if networks == 1:
            self.weights = [each[0] for each in self.weights]
            self.biases = [each[0] for each in self.biases]

    def run(self, steps: int) -> None:
        """Take the steps of one short pass and wait for them."""
        shape = (self.networks, steps, BATCH) if self.networks > 1 else (steps, BATCH)
        order = np.random.default_rng(0).integers(0, len(self.data.inputs), shape)
        self.weights, self.biases = self.train((self.weights, self.biases), order)
        jax.block_until_ready(self.weights)

    def accuracy(self) -> float:
        """Score the first network."""
        first = (slice(0, 1),) if self.networks > 1 else (None,)
        stack = Stack(
            [torch.tensor(np.asarray(each)[first]) for each in self.weights],
            [torch.tensor(np.asarray(each)[first])[:, None] for each in self.biases],
        )
        scores = score(stack.predict(self.data.test_pixels, self.data.test_targets))
        return float(scores.accuracy[0])
