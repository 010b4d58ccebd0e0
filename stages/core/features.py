"""What the hidden units of a network do on a sample of examples, one layer at a time."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

DUPLICATE_CORRELATION = 0.95


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

    As in Andriushchenko et al., "SGD with Large Step Sizes Learns Sparse Features" (2023): units
    that never fire and, of units whose activations correlate above 0.95 in absolute value, all but
    the first do not count; the denominator stays examples × all units. Lower is sparser.

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
    """Keep of units that duplicate one another the first.

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
    shares = torch.where(total > 0, values / total, 0)
    return torch.where(total[:, 0] > 0, torch.special.entr(shares).sum(dim=1).exp(), 0)
