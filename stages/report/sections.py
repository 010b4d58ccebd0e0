"""The sections of the page, in the order in which they are read."""

from collections.abc import Iterator, Mapping

import pandas as pd

from stages.audit.judging.sentences import tally
from stages.common.datasets import title
from stages.figures.study import Study
from stages.report.chart import Chart
from stages.report.ends import ends
from stages.report.failure import failure
from stages.report.ladder import ladder
from stages.report.linked import linked_section
from stages.report.mechanism import mechanism
from stages.report.page import Section
from stages.report.verdicts import claims

CLAIMS = "claims.csv"
NETWORKS, EPOCHS = "audit/networks.csv", "audit/epochs.csv"
FAILURE = ("audit/failure.csv", "audit/failure_shares.csv", "audit/failure_curves.csv")
ENDS_TEXT = "The final accuracy of every network of the study, and when networks were lost."
LOST_TEXT = "The share of the audit's networks that are lost by the last epoch, by recipe."
LADDER_TEXT = (
    "What happens when the choices of the published study are reversed one at a time. These are "
    "networks of the audit, which has other seeds than the study."
)
ARMS_TEXT = (
    "Networks that spend more epochs at a large rate, before it decays, against networks that "
    "never do. If large steps made features sparse only because they hold the training loss up, "
    "the lines in the third chart would meet."
)


def sections(study: Study, audit: Mapping[str, pd.DataFrame]) -> Iterator[Section]:
    """Make all sections of the study, and those sections of the audit whose tables exist."""
    if CLAIMS in audit:
        judged = claims(audit[CLAIMS])
        content = {"claims": judged, "tally": tally(claim["verdict"] for claim in judged)}
        yield Section("verdicts", "The published claims, judged", "verdicts.html", content)
    yield charts("ends", "How the networks end", ENDS_TEXT, {"": ends(study)}, unfolded=True)
    for dataset in study.datasets:
        yield linked_section(study, dataset)
    if all(name in audit for name in FAILURE):
        drawn = {"": failure(*(audit[name] for name in FAILURE))}
        yield charts("failure", "At which rates networks are lost", LOST_TEXT, drawn, unfolded=True)
    grid = study.seeds.loc[study.seeds["role"] == "grid", "learning_rate"].unique().tolist()
    if NETWORKS in audit:
        networks = audit[NETWORKS]
        drawn = {title(each): ladder(networks, each, grid) for each in networks["dataset"].unique()}
        yield charts("ladder", "The ladder from the published protocol", LADDER_TEXT, drawn)
    if NETWORKS in audit and EPOCHS in audit and len(audit[EPOCHS]):
        epochs = audit[EPOCHS]
        drawn = {
            title(each): mechanism(epochs, networks, each, grid)
            for each in epochs["dataset"].unique()
        }
        yield charts(
            "mechanism", "Large steps, or too little training?", ARMS_TEXT, drawn, unfolded=True
        )


def charts(
    name: str, heading: str, prose: str, drawn: Mapping[str, Chart], *, unfolded: bool = False
) -> Section:
    """Make a section of charts under their headings, their tables folded or not."""
    content = {"prose": prose, "charts": drawn, "open": unfolded}
    return Section(name, heading, "charts.html", content)
