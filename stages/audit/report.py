"""Judge every claim and write the report: claims.md, and claims.csv by claim and rung."""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import BaseModel

from stages.audit.judging import published
from stages.audit.judging.breaking import contradictions, crossings
from stages.audit.judging.claims import CLAIMS, Claim, headline
from stages.audit.judging.evidence import Evidence, Finding, Verdict
from stages.audit.judging.ladder_order import before, rungs, titles
from stages.audit.judging.read_tables import BOUNDARY, LADDER, read
from stages.audit.training.parameters import CORE, Audit, Recipe
from stages.common.errors import run
from stages.common.parameters import read_params
from stages.common.whole_files import whole_file
from stages.training.parameters import Training

Findings = Mapping[str, Finding]
"""Rung → finding."""

INTRODUCTION = """\
# The published claims, retested one confound at a time

Made by `make audit`; no verdict here is written by hand. The ladder reruns the published protocol
and undoes its choices one by one, with the epochs, batch size, network and seeds of params.yaml.
Every claim is judged on every rung that bears on it, by the rule given below it.

- *Rung*: a recipe. *Core*: the rung that is the study's own recipe, where all rates start from the
  same weights. *Candidate*: the one rate that core tries beside the grid.
- A network has *trained* if it is finite at the end and has classified at least the share
  `outcome.trained_accuracy` of its last 1,600 training examples correctly, each just before the
  step it took part in. It is *lost* if it is not there but once was, or if its gradient burst: a
  norm above `outcome.burst_gradient_norm`. A lost network has *exploded* if it ends non-finite,
  else it has *collapsed*. It is *undertrained* if it was never lost and has not got there yet, as
  with a very small rate. All but the trained *fail*.
- Where rates are run in a row, a network that is lost at a rate's first step, since an earlier rate
  left it broken or dead, *could not begin* there; it is not counted.

In the first table, the verdict is that on core or, where core does not bear on a claim, the common
one of the rungs that do. A rung changes a verdict when it differs from that on the rung it is one
change away from and neither is “not testable here”, which also means a difference too small to be
told with these seeds. No test compares rungs: a verdict may change by chance.

One choice is the study's on every rung: the validation split of params.yaml is held out, which the
notebook did not do.

"""
CHAINS = """
A network once lost stays lost; what a seed tells is where. Lost at the rate of the notebook's first
nan: {chains}.
"""
BREAKING = """
## Where a dataset breaks

The rate at which a seed stops ending trained, by bisection of its logarithm. Near it training is
erratic: between a rate that trains and one that fails there may be several crossings, of which one
is found, so networks of the rung may end otherwise than their seed's crossing says; the last column
counts them. Where all seeds are bracketed, the range of their brackets covers the true median of
the crossings so found with the probability given, whatever their distribution.

"""
TESTS = """
## Claim by claim

Tests are two-sided at 5 %; several comparisons of one claim share that by Holm's method, and the
power given is that of one test before it, for a true difference of that size, if seeds scatter as
these do. The t-test takes differences between seeds to be normal. Means of steps are geometric.
Nothing is corrected for the number of claims and rungs, and the tests of clipping and schedules
count a seed on two datasets as two.

"""


class ReportParams(BaseModel):
    """The part of params.yaml that the report reads."""

    training: Training
    audit: Audit


def judged(evidence: Evidence) -> dict[str, Findings]:
    """Judge every claim, by name."""
    return {claim.name: claim.findings(evidence) for claim in CLAIMS}


def changes(findings: Findings, audit: Audit) -> list[tuple[str, str]]:
    """List the rungs on which a verdict differs from the rung before, with the one before.

    Where either could not be tested nothing is known to differ.
    """
    found = []
    for rung, finding in findings.items():
        origin = before(audit, rung)
        if origin and origin in findings:
            both = {findings[origin].verdict, finding.verdict}
            if len(both) > 1 and Verdict.UNTESTABLE not in both:
                found.append((origin, rung))
    return found


def claims_table(findings: Mapping[str, Findings]) -> pd.DataFrame:
    """Lay out one row per claim and rung."""
    rows = [
        {
            "claim": claim.name,
            "statement": claim.statement,
            "rung": rung,
            "verdict": str(finding.verdict),
            "result": finding.result,
            "test": finding.test,
        }
        for claim in CLAIMS
        for rung, finding in findings[claim.name].items()
    ]
    return pd.DataFrame(rows, columns=["claim", "statement", "rung", "verdict", "result", "test"])


def verdicts(findings: Mapping[str, Findings], audit: Audit) -> str:
    """Lay out the verdicts in Markdown, and the rungs that change them."""
    rows = []
    first = rungs(audit)[0]
    for claim in CLAIMS:
        here = findings[claim.name]
        names = titles(here)
        moves = [
            f"{names[rung]}: {here[origin].verdict} → {here[rung].verdict}"
            for origin, rung in changes(here, audit)
        ]
        apart = [f"{names[rung]}: {here[rung].verdict}" for rung in here]
        differ = len({finding.verdict for finding in here.values()}) > 1
        linked = any(before(audit, rung) in here for rung in here)
        rows.append(
            {
                "claim": claim.statement,
                "as published": str(here[first].verdict) if first in here else "–",
                "verdict": f"**{headline(here)}**",
                "rungs that change it": "<br>".join(moves if linked else apart * differ) or "–",
            }
        )
    return _markdown(pd.DataFrame(rows))


def ladder(evidence: Evidence, declared: ReportParams) -> str:
    """Lay out the rungs in Markdown: what each is, and what it differs in from the one before."""
    core = Recipe(
        after=None,
        rates=None,
        start="fresh",
        normalization="own",
        clip_norm=declared.training.clip_norm,
        schedule=declared.training.schedule.name,
    )
    recipes = {**declared.audit.recipes, CORE: core}
    names = titles(recipes)
    rows = []
    others = [name for name in declared.audit.ladder if name not in evidence.rungs]
    for number, name in enumerate([*evidence.rungs, *others], start=1):
        recipe = recipes[name]
        origin = before(declared.audit, name)
        rates = "the grid" if recipe.rates is None else ", ".join(f"{r:g}" for r in recipe.rates)
        rows.append(
            {
                "rung": f"{number} {names[name]}" if name in evidence.rungs else f"– {names[name]}",
                "one change from": "–" if origin is None else names[origin],
                "each rate starts from": "its seed's own weights"
                if recipe.start == "fresh"
                else "what the rate before left",
                "normalization": recipe.normalization,
                "clipping": "none" if recipe.clip_norm is None else f"norm {recipe.clip_norm:g}",
                "schedule": recipe.schedule.replace("_", " + "),
                "rates": rates,
            }
        )
    return _markdown(pd.DataFrame(rows))


def reproduction(evidence: Evidence) -> str:
    """Hold the first rung against the notebook's last epoch, in Markdown."""
    rows, chains = [], []
    for dataset, outputs in published.NOTEBOOK_ACCURACY.items():
        here = evidence.ladder[
            (evidence.ladder["rung"] == evidence.rungs[0]) & (evidence.ladder["dataset"] == dataset)
        ]
        if here.empty:
            continue
        for rate, output in outputs.items():
            seeds = here[np.isclose(here["learning_rate"], rate)]
            if seeds.empty:
                continue
            exploded = seeds["lost_how"] == "exploded"
            alike = exploded if output is None else ~exploded
            rows.append(
                {
                    "dataset": dataset,
                    "rate": f"{rate:g}",
                    "notebook": "nan" if output is None else f"{100 * output:.2f} %",
                    "seeds that end non-finite": f"{int(exploded.sum())} of {len(seeds)}",
                    "of them lost before": str(int((seeds["lost_step"] == 1).sum())),
                    "test accuracy of the others": _range(seeds.loc[~exploded, "test_accuracy"]),
                    "as in the notebook": f"{int(alike.sum())} of {len(seeds)} seeds",
                }
            )
        lost_at = here["learning_rate"].where(here["lost_how"] == "exploded")
        first = lost_at.groupby(here["seed"]).min()
        expected = min(rate for rate, output in outputs.items() if output is None)
        there = int(np.isclose(first, expected).sum())
        chains.append(f"on {dataset} {there} of {len(first)} at {expected:g}")
    if not rows:
        return "The notebook ran none of these datasets.\n"
    return _markdown(pd.DataFrame(rows)) + CHAINS.format(chains="; ".join(chains))


def boundaries(evidence: Evidence) -> str:
    """Lay out in Markdown where the seeds break: their median, and how far it is known."""
    rows = []
    for (dataset, recipe), found in evidence.boundary.groupby(["dataset", "recipe"], sort=False):
        known = found.dropna(subset=["low", "high"])
        if known.empty:
            continue
        covered = 100 * (1 - 2 * 0.5 ** len(known))
        reach = f"{known['low'].min():.3f} to {known['high'].max():.3f}"
        whole = len(known) == len(found)
        otherwise, networks = contradictions(evidence, str(dataset), str(recipe))
        rows.append(
            {
                "dataset": dataset,
                "recipe": recipe,
                "median of the crossings": f"{crossings(found).median():.3f}",
                "all crossings lie in": reach + f" ({covered:.1f} % interval)" * whole,
                "seeds bracketed": f"{len(known)} of {len(found)}",
                "bracket": f"× {(known['high'] / known['low']).max():.3f}",
                "networks of the rung that end otherwise": f"{otherwise} of {networks}",
            }
        )
    return _markdown(pd.DataFrame(rows))


def section(claim: Claim, findings: Findings) -> str:
    """Write a claim's section in Markdown: its rule, and each rung's result, test and verdict."""
    names = titles(findings)
    rows = [
        {
            "rung": names[rung],
            "verdict": str(finding.verdict),
            "result": finding.result,
            "test": finding.test,
        }
        for rung, finding in findings.items()
    ]
    table = _markdown(pd.DataFrame(rows)) if rows else "No rung bears on it.\n"
    return f"### {claim.statement}\n\n*Rule.* {claim.rule}\n\n{table}"


def report(evidence: Evidence, findings: Mapping[str, Findings], declared: ReportParams) -> str:
    """Write the whole report."""
    parts = [
        INTRODUCTION,
        verdicts(findings, declared.audit),
        "\n## The ladder\n\n",
        ladder(evidence, declared),
        "\n## Does the first rung reproduce the notebook?\n\n",
        reproduction(evidence),
        BREAKING,
        boundaries(evidence),
        TESTS,
        "\n".join(section(claim, findings[claim.name]) for claim in CLAIMS),
    ]
    return "".join(parts)


def _range(values: pd.Series) -> str:
    if values.empty:
        return "–"
    return f"{100 * values.min():.2f} to {100 * values.max():.2f} %"


def _markdown(table: pd.DataFrame) -> str:
    return table.to_markdown(index=False, disable_numparse=True) + "\n"


def main() -> None:
    """Read the tables, write the verdicts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("metrics", type=Path)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    declared = read_params(ReportParams, arguments.params)
    evidence = Evidence.of(
        read(arguments.metrics / "ladder.csv", LADDER),
        read(arguments.metrics / "boundary.csv", BOUNDARY),
        declared.audit,
        declared.training,
    )
    findings = judged(evidence)
    with whole_file(arguments.metrics / "claims.csv") as draft:
        claims_table(findings).to_csv(draft, index=False, lineterminator="\n")
    with whole_file(arguments.metrics / "claims.md") as draft:
        draft.write_text(report(evidence, findings, declared), encoding="utf-8")


if __name__ == "__main__":
    run(main)
