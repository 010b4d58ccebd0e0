"""What changes from one rung to the next: only a test of the difference itself decides that."""

from collections.abc import Sequence
from dataclasses import dataclass

from stages.audit.judging.claims import CLAIMS, Claim
from stages.audit.judging.comparisons import Comparison
from stages.audit.judging.evidence import Evidence
from stages.audit.judging.rungs import CHANGES
from stages.audit.judging.statistics import LEVEL, holm
from stages.audit.judging.tested import Tested


@dataclass(frozen=True)
class Change:
    """What a comparison finds on one recipe, compared with what it finds on the next."""

    claim: Claim
    before: str
    after: str
    comparison: Comparison
    tested: Tested
    corrected: float
    """The p value of no difference, by Holm's method over all rungs and comparisons of a claim."""

    @property
    def significant(self) -> bool:
        """Whether the comparison comes out differently on the two recipes."""
        return self.corrected < LEVEL


def changes(evidence: Evidence, claims: Sequence[Claim] = CLAIMS) -> list[Change]:
    """Test, for every claim, what changes between recipes that are one change apart."""
    found = []
    for claim in claims:
        tested = [
            (before, after, change, result)
            for before, after in CHANGES
            for comparison in claim.comparisons
            if (change := comparison.change(before, after)) is not None
            and (result := change.tested(evidence)) is not None
        ]
        p_values = holm([result.p_difference for *_, result in tested])
        found += [Change(claim, *each, p) for each, p in zip(tested, p_values, strict=True)]
    return found
