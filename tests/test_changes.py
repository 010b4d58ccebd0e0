"""What changes between rungs: only what a test of the difference finds."""

import pytest

from stages.audit.judging.changes import changes
from stages.audit.judging.rungs import CHANGES, RUNGS
from stages.audit.judging.statistics import holm
from tests.drawn_audit import BY_KEY, evidence

RATES = (0.1, 0.2, 0.3, 0.384, 0.48, 0.6)


def ladder(dataset: str) -> list[tuple[str, str, float]]:
    return [(dataset, recipe, rate) for recipe in RUNGS for rate in RATES]


def found(key: str, dataset: str, told: dict[tuple[str, str, float], dict[str, float]]) -> set:
    drawn = evidence(told, cells=ladder(dataset))
    return {
        (each.before, each.after, each.comparison.label)
        for each in changes(drawn, [BY_KEY[key]])
        if each.significant
    }


def test_a_change_of_what_a_rate_does_is_found_on_its_rung() -> None:
    told = {("mnist", recipe, 0.2): {"steps_to_threshold": 60.0} for recipe in ("as_published",)}
    assert found("faster", "mnist", told) == {
        ("as_published", "fresh_start", "0.2 against 0.1 (MNIST), fresh start minus as published")
    }


def test_what_changes_at_all_rates_alike_changes_no_claim() -> None:
    told = {("mnist", "clipped", rate): {"steps_to_threshold": 1200.0} for rate in RATES}
    assert found("faster", "mnist", told) == set()


def test_a_change_of_the_share_lost_is_found_by_fishers_test() -> None:
    told = {
        ("fashion_mnist", recipe, rate): {"lost": 14}
        for recipe in RUNGS[:4]
        for rate in (0.48, 0.6)
    }
    told |= {("fashion_mnist", "warmup_cosine", rate): {"lost": 10} for rate in (0.48, 0.6)}
    assert found("unstable", "fashion_mnist", told) == {
        ("core", "clipped", "clipped against core, 0.48 (Fashion-MNIST)"),
        ("core", "clipped", "clipped against core, 0.6 (Fashion-MNIST)"),
    }


def test_all_rungs_and_comparisons_of_a_claim_are_corrected_together() -> None:
    tested = changes(evidence(cells=ladder("mnist")), [BY_KEY["better"]])
    assert [(each.before, each.after) for each in tested] == [
        pair for pair in CHANGES[:5] for _ in range(2)
    ]
    expected = holm([each.tested.p_difference for each in tested])
    assert [each.corrected for each in tested] == pytest.approx(expected)


def test_each_claim_is_corrected_on_its_own() -> None:
    drawn = evidence(cells=ladder("mnist"))
    together = changes(drawn, [BY_KEY["better"], BY_KEY["sparser_mnist"]])
    apart = changes(drawn, [BY_KEY["better"]]) + changes(drawn, [BY_KEY["sparser_mnist"]])
    told = [
        [(each.comparison.label, each.corrected) for each in all_] for all_ in (together, apart)
    ]
    assert told[0] == told[1]
    assert {each.claim.key for each in together} == {"better", "sparser_mnist"}


@pytest.mark.parametrize("key", ["clipping", "printed", "usable", "large_steps", "depends"])
def test_claims_about_recipes_themselves_have_no_changes(key: str) -> None:
    assert changes(evidence(cells=ladder("mnist")), [BY_KEY[key]]) == []


def test_another_order_of_the_units_is_a_rung_like_the_others() -> None:
    cells = [
        ("fashion_mnist", recipe, rate)
        for recipe in ("core", "core_permuted")
        for rate in (0.1, 0.384)
    ]
    drawn = evidence({("fashion_mnist", "core", 0.384): {"lost": 20}}, cells=cells)
    (only,) = changes(drawn, [BY_KEY["unstable_0384"]])
    assert (only.before, only.after, only.significant) == ("core", "core_permuted", True)
    assert only.tested.sizes == (10, 20)
