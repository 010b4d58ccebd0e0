"""What the hidden units of a network do on a sample of examples, one layer at a time."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

DUPLICATE_CORRELATION = 0.95


def measured(
    activations: Tensor, quantities: Sequence[Callable[[Tensor], Tensor]]
) -> dict[str, float]:
    """Compute some of the quantities below of one network's layer, by their names.

    Args:
        activations: (1, examples, units), after the rectifier.
        quantities: Functions of this module.

    Returns:
        Name of each function → its value. All values are NaN if an activation is not finite.
    """
    activations = activations.cpu()  # for float64, which MPS lacks
    finite = bool(activations.isfinite().all())
    return {each.__name__: float(each(activations)) if finite else math.nan for each in quantities}


def positive_share(activations: Tensor) -> Tensor:
    """Compute the share of positive activations over examples and units.

    Args:
        activations: (networks, examples, units), after the rectifier.

    Returns:
        (networks,), 0 to 1.
    """
    return (activations > 0).double().mean(dim=(1, 2))


def feature_sparsity(activations: Tensor) -> Tensor:
    """Compute the share of positive activations without idle and duplicate units.

    Units that never fire do not count. Of units whose activations correlate above 0.95 in absolute
    value, only the first counts. The denominator stays examples × all units. Lower is sparser.

    This is how Andriushchenko et al., "SGD with Large Step Sizes Learns Sparse Features" (2023),
    describe their measure. Their code, for fully connected networks, normalizes each unit's
    activations by their L2 norm without centring them, compares the products with 0.99, and keeps
    the last of alike units. Which one is kept matters, for alike units may fire unequally often.

    Args:
        activations: (networks, examples, units), after the rectifier, on the CPU.

    Returns:
        (networks,), 0 to 1.
    """
    firing = (activations > 0).double().mean(dim=1)
    correlations = correlation(activations).abs().numpy()
    counted = torch.from_numpy(np.stack([distinct(each) for each in correlations]))
    return (firing * counted).mean(dim=1)


def correlation(activations: Tensor) -> Tensor:
    """Compute Pearson's correlation of every two units, (networks, units, units); 0 if constant."""
    centred = activations.double() - activations.double().mean(dim=1, keepdim=True)
    norms = centred.norm(dim=1, keepdim=True)
    unit = torch.where(norms > 0, centred / norms, 0)
    return unit.mT @ unit


def distinct(correlations: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Keep the first of several units that duplicate one another.

    Args:
        correlations: (units, units), absolute values.

    Returns:
        (units,): whether each unit duplicates none that was kept before it.
    """
    kept = np.zeros(len(correlations), dtype=bool)
    for unit, row in enumerate(correlations):
        kept[unit] = not (row[kept] > DUPLICATE_CORRELATION).any()
    return kept


def effective_rank(activations: Tensor) -> Tensor:
    """Compute exp of the entropy of the singular values, normalized to sum 1.

    Roy and Vetterli, "The effective rank: a measure of effective dimensionality" (2007).

    Args:
        activations: (networks, examples, units).

    Returns:
        (networks,), from 1 to the number of units; 0 where every activation is 0.
    """
    features = activations.double()
    squares = torch.linalg.eigvalsh(features.mT @ features).clamp(min=0)
    values = squares.sqrt()
    total = values.sum(dim=1, keepdim=True)
    entropy = torch.special.entr(values / total).sum(dim=1)
    return torch.where(total[:, 0] > 0, entropy.exp(), 0)
