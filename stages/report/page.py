"""The page: its sections, and everything they need, in one file."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import vl_convert

from stages.audit.judging.comparisons import listed
from stages.common.datasets import title
from stages.figures.rates import rates_of
from stages.figures.study import Study, of_dataset
from stages.figures.theme import LIGHT
from stages.report.look import STYLE

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Section:
    """A section of the page."""

    name: str
    """Unique in the page: letters, digits and hyphens."""
    title: str
    template: str
    """The file in templates/ that shows it."""
    content: Mapping[str, Any]
    """What the template shows."""


def page(study: Study, sections: Iterable[Section]) -> str:
    """Write the page: HTML that needs no other file."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html").render(
        sections=list(sections),
        networks=len(study.seeds),
        datasets=listed(title(dataset) for dataset in study.datasets),
        seeds=study.seeds["seed"].nunique(),
        epochs=int(study.history["epoch"].max()),
        findings=[finding(study, dataset) for dataset in study.datasets],
        vega=script(),
        style=f"{STYLE}\n{own('style.css')}",
        page_script=own("page.js"),
    )


def finding(study: Study, dataset: str) -> str:
    """Say in a sentence or two which rate ends best on a dataset, and which lose networks."""
    rates = rates_of(study.seeds, LIGHT)
    seeds = {rate.name: rate.rows(of_dataset(study.seeds, dataset)) for rate in rates}
    trained = {name: rows[rows["outcome"] == "trained"] for name, rows in seeds.items()}
    means = {name: rows["test_accuracy"].mean() for name, rows in trained.items() if len(rows)}
    lost = [
        f"{count} of {len(rows)} at {name} ({epochs(rows['lost_epoch'])})"
        for name, rows in seeds.items()
        if (count := (rows["outcome"] == "lost").sum())
    ]
    best = max(means, key=lambda name: means[name], default=None)
    ended = "no network trained"
    if best is not None:
        ended = f"the rate {best} ends best, at {100 * means[best]:.2f} % test accuracy on average"
    return f"{title(dataset)}: {ended}. Lost: {', '.join(lost) or 'none'}."


def epochs(lost: pd.Series) -> str:
    """Say in which epochs networks were lost, the first and the last."""
    first, last = int(lost.min()), int(lost.max())
    return f"epoch {first}" if first == last else f"epochs {first} to {last}"


def own(name: str) -> str:
    """Read a file that goes into the page as it is."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


def script() -> str:
    """Bundle Vega, Vega-Lite and Vega-Embed as one script, without a network."""
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    # A browser would take this for the end of the script, even inside a string.
    return bundle.replace("</script", "<\\/script")
