"""How each network of a run ended, when it was lost, and how fast it learned."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.diagnostics.diagnostics_files import NETWORKS
from stages.diagnostics.parameters import Outcome
from stages.training.run_files import Run
from stages.training.stack import Stack

RUNNING_EXAMPLES = 1600
"""The running accuracy at a step is the accuracy on about this many of the latest examples."""


def outcomes(run: Run, rule: Outcome) -> pd.DataFrame:
    """Judge each network by what it is at the end of its run, one row per network.

    The *running accuracy* at a step is the mean of the last steps' batch accuracies, over a window
    of 1,600 examples (`running_window`). A step is a *burst* if its gradient norm is above
    `burst_gradient_norm`, or if its gradient norm or its loss is not finite.

    outcome
        `trained` if the parameters and the loss of the last step are finite and the running
        accuracy at the last step is at least `trained_accuracy`. Otherwise `lost` if some step was
        a burst, if the running accuracy was once at least `trained_accuracy`, or if the network is
        dead: in the last window no gradient at all reached its first layer, for example because a
        whole layer of ReLUs is silent. Otherwise `undertrained`: never lost, but not yet trained.
    lost_step
        The step at which the breakdown began. Let g be the last good step, whose running accuracy
        was at least `trained_accuracy`; 0 if there is none. The breakdown began at the first burst
        after step g − window. An earlier burst does not count: the network survived it. Without
        such a burst, it began at the first of the steps without a gradient if the network is dead,
        else at step g + 1, or at g if that is the last step.
    lost_how
        `exploded` if the parameters or the loss of the last step are not finite, else `collapsed`.
    steps_to_threshold
        The first step of the first epoch whose running accuracy is at least `threshold_accuracy`.
        No example repeats in that epoch, so this accuracy is one on unseen examples (progressive
        validation: Dawid, "Present position and potential developments: some personal views:
        statistical theory: the prequential approach", 1984; Blum, Kalai, Langford, "Beating the
        hold-out", 1999). If no such step exists, the last step of the first epoch whose validation
        accuracy is at least `threshold_accuracy`. Missing if there is no such epoch either.

    Args:
        run: The run, whole.
        rule: The thresholds.

    Raises:
        UserError: `rule` has no threshold for the run's dataset.

    Returns:
        A table with the columns `NETWORKS` of `stages.diagnostics.diagnostics_files`. Steps and
        epochs count from 1. `running_accuracy` is that of the last step, missing where the network
        no longer took it; `peak_gradient_norm` is the largest finite one of the run.
    """
    facts, loss = run.facts, run.steps["loss"]
    per_epoch = facts["steps_per_epoch"]
    window = running_window(facts["batch_size"], per_epoch)
    running = running_accuracy(run.steps["accuracy"], window)
    good = running >= rule.trained_accuracy
    burst = burst_steps(run, rule)
    finite = np.isfinite(loss[-1]) & finite_parameters(run)
    trained = finite & good[-1]
    silent = silent_since(run.steps["layer_gradient_norm"])
    dead = silent <= len(loss) - window + 1
    lost = ~trained & ((burst | good).any(axis=0) | dead)
    began = lost_steps(burst, good, np.where(dead, silent, np.inf), window)
    lost_step = np.where(lost, began, np.nan)
    threshold = rule.threshold_of(facts["dataset"])
    columns = {
        "seed": facts["seeds"],
        "outcome": np.select([trained, lost], ["trained", "lost"], "undertrained"),
        "lost_epoch": (lost_step - 1) // per_epoch + 1,
        "lost_step": lost_step,
        "lost_how": pd.Series(np.where(finite, "collapsed", "exploded")).where(lost),
        "running_accuracy": running[-1],
        "steps_to_threshold": steps_to_threshold(run, running[:per_epoch], threshold),
        "peak_gradient_norm": peaks(run.steps["gradient_norm"]),
    }
    return pd.DataFrame(columns).astype(NETWORKS)


def burst_steps(run: Run, rule: Outcome) -> NDArray[np.bool_]:
    """Tell of each step whether it was a burst, as in `outcomes`, (steps, networks)."""
    norms, loss = run.steps["gradient_norm"], run.steps["loss"]
    bound = np.float64(rule.burst_gradient_norm)  # which float32 might not hold
    return (norms > bound) | ~np.isfinite(norms) | ~np.isfinite(loss)


def running_window(batch_size: int, steps_per_epoch: int) -> int:
    """Say how many steps see about 1,600 examples: at least one, at most an epoch's."""
    return max(1, min(round(RUNNING_EXAMPLES / batch_size), steps_per_epoch))


def running_accuracy(accuracy: NDArray[np.float32], window: int) -> NDArray[np.float64]:
    """Average the batch accuracies of the last steps.

    Args:
        accuracy: (steps, networks), share of each step's batch that was classified correctly.
        window: Steps to average over.

    Returns:
        (steps, networks), rounded to six decimals, so that rounding of the shares decides nothing
        at a threshold. NaN before `window` steps were taken and where one of them is NaN.
    """
    running = np.full(accuracy.shape, np.nan)
    if window <= len(accuracy):
        windows = np.lib.stride_tricks.sliding_window_view(accuracy, window, axis=0)
        running[window - 1 :] = windows.mean(axis=-1, dtype=np.float64).round(6)
    return running


def finite_parameters(run: Run) -> NDArray[np.bool_]:
    """Tell of each network whether all its parameters are finite at the end, (networks,)."""
    last = {name: values[-1] for name, values in run.parameters.items()}
    finite: NDArray[np.bool_] = Stack.from_arrays(last).finite().numpy()
    return finite


def silent_since(layer_norms: NDArray[np.float32]) -> NDArray[np.int64]:
    """Find the step, from 1, since which no gradient has reached the first layer, (networks,).

    Args:
        layer_norms: (steps, networks, layers), norm of each layer's part of the gradient.

    Returns:
        The number of steps + 1 if a gradient reached that layer in the last step.
    """
    steps = np.arange(1, len(layer_norms) + 1)[:, None]
    last: NDArray[np.int64] = np.where(layer_norms[..., 0] != 0, steps, 0).max(axis=0)
    return last + 1


def lost_steps(
    burst: NDArray[np.bool_], good: NDArray[np.bool_], dead_since: NDArray[np.float64], window: int
) -> NDArray[np.float64]:
    """Find the step, from 1, at which each network's breakdown began, if it was lost.

    Args:
        burst: (steps, networks), whether the step was a burst.
        good: (steps, networks), whether the running accuracy was that of a trained network.
        dead_since: (networks,), the step since which a network is dead, infinite if it is not.
        window: Steps that the running accuracy looks back.
    """
    steps = np.arange(1, len(good) + 1)[:, None]
    last_good = np.where(good, steps, 0).max(axis=0)
    late = burst & (steps > last_good - window)
    # If the last step itself broke the parameters, it can still be the last good one.
    after = np.minimum(last_good + 1, len(good))
    without_burst = np.where(np.isfinite(dead_since), dead_since, after)
    return np.where(late.any(axis=0), late.argmax(axis=0) + 1, without_burst)


def steps_to_threshold(
    run: Run, running: NDArray[np.float64], threshold: float
) -> NDArray[np.float64]:
    """Count the steps to an accuracy on unseen examples, (networks,), NaN if not reached.

    Args:
        run: Its history holds the validation accuracy after each epoch.
        running: (steps of the first epoch, networks), the running accuracy.
        threshold: The accuracy, 0 to 1.
    """
    reached = running >= threshold
    history = run.history[run.history["validation_accuracy"] >= threshold]
    epoch_ends = history.groupby("seed")["step"].min().reindex(run.facts["seeds"])
    return np.where(reached.any(axis=0), reached.argmax(axis=0) + 1, epoch_ends.to_numpy(float))


def peaks(norms: NDArray[np.float32]) -> NDArray[np.float32]:
    """Find each network's largest finite gradient norm, (networks,); NaN if none is finite."""
    peak = np.where(np.isfinite(norms), norms, -np.inf).max(axis=0)
    return np.where(np.isfinite(peak), peak, np.nan)
