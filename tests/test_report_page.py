"""The report and the plots of DVC, as a browser shows them."""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from matplotlib.colors import to_hex
from playwright.sync_api import Browser, Page

from stages import report_page
from stages.figures.rates import rates_of
from stages.figures.theme import DARK, LIGHT, THEMES, Theme, rate_colour
from tests import audited
from tests.browser import chromium, opened
from tests.drawn_study import STEPS_PER_EPOCH, fabricate
from tests.repositories import PROJECT, begin, call, commit
from tests.test_plot import write
from tools.demo import copy_project

STUDY = fabricate(("mnist", "fashion_mnist"))
RATES = ("0.1", "0.2 (candidate)", "0.3", "0.6")
SEEDS = (11, 12, 13, 14)
PANELS = 6
CHARTS = {
    *(
        "claim-faster",
        "claim-unstable",
        "final-accuracy",
        "mnist-by-epoch",
        "fashion_mnist-by-epoch",
        "share-lost",
    ),
    *("mnist-ladder", "fashion_mnist-ladder", "mnist-mechanism", "fashion_mnist-mechanism"),
}
MARKS = "[class*='role-mark'] :is(path, line, rect)"
"""What is drawn from data; axes are not."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


def make(metrics: Path, page: Path) -> Path:
    """Run the stage."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["report", str(metrics), str(page)])
        report_page.main()
    return page


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the report of a small study and its audit."""
    folder = tmp_path_factory.mktemp("report")
    write(STUDY, folder / "metrics")
    audited.write(folder / "metrics")
    return make(folder / "metrics", folder / "report.html")


@pytest.fixture(scope="module")
def plotted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw the tables of a study, and their difference from others, with DVC."""
    repository = tmp_path_factory.mktemp("plots") / "repository"
    copy_project(PROJECT, repository)
    table = repository / "metrics/history.csv"
    table.parent.mkdir()
    STUDY.history.to_csv(table, index=False)
    begin(repository)
    STUDY.history.assign(train_loss=2 * STUDY.history["train_loss"]).to_csv(table, index=False)
    commit(repository, "Twice the loss")
    call(repository, "dvc", "plots", "show", "--out", "show")
    call(repository, "dvc", "plots", "diff", "HEAD~1", "HEAD", "--out", "diff")
    return repository


def settled(page: Page) -> None:
    """Unfold everything, and wait until everything is drawn."""
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    page.wait_for_function(
        "[...document.querySelectorAll('.chart')].every((each) => each.dataset.drawn)"
    )


def marks(page: Page, charts: str) -> dict[str, int]:
    """Count what each chart draws from its data."""
    counted: dict[str, int] = page.evaluate(
        "([charts, marks]) => Object.fromEntries([...document.querySelectorAll(charts)].map("
        "(each) => [each.id, each.querySelectorAll(marks).length]))",
        [charts, MARKS],
    )
    return counted


def of_rgb(text: str) -> str:
    """Write rgb(1, 2, 3) as #rrggbb."""
    return to_hex([int(number) / 255 for number in re.findall(r"\d+", text)[:3]])


@pytest.fixture(scope="module")
def shown(browser: Browser, report: Path) -> Iterator[Page]:
    with opened(browser, report) as new:
        settled(new.page)
        yield new.page


@pytest.fixture
def page(shown: Page) -> Page:
    """Show the report as it is at first, at MNIST's networks."""
    shown.keyboard.press("Escape")
    shown.evaluate("document.querySelectorAll('[aria-pressed=true]').forEach((on) => on.click())")
    shown.locator("#mnist-networks").scroll_into_view_if_needed()
    return shown


def bright(page: Page) -> list[list[str]]:
    """List, for each panel of MNIST's networks, the colours of the lines that are not faded."""
    panels: list[list[str]] = page.evaluate(
        "[...document.querySelectorAll('#mnist-by-epoch [class*=pathgroup]')].map((panel) =>"
        " [...panel.querySelectorAll('[class*=mark-line] path')]"
        ".filter((each) => each.getAttribute('opacity') > 0.5)"
        ".map((each) => getComputedStyle(each).stroke))"
    )
    return [sorted(map(of_rgb, panel)) for panel in panels]


def wait_for(page: Page, colours: Sequence[str]) -> None:
    """Wait until the bright lines of every panel have these colours, or say which they have."""
    expected = [sorted(colours)] * PANELS
    for _ in range(600):
        if bright(page) == expected:
            return
        page.wait_for_timeout(100)
    assert bright(page) == expected


def of_rates(*names: str, theme: Theme = LIGHT) -> list[str]:
    """List the colours that rates have in all figures, once for each of their networks."""
    rates = [rate for rate in rates_of(STUDY.seeds, theme) if rate.name in names]
    return [rate.colour for rate in rates for _ in SEEDS]


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", [360, 1600])
def test_every_chart_is_drawn_in_any_window_without_a_request_or_a_complaint(
    browser: Browser, report: Path, width: int, theme: Theme
) -> None:
    with opened(browser, report, width=width, scheme=theme.name) as shown:
        settled(shown.page)
        drawn = marks(shown.page, ".chart")
        assert set(drawn) == CHARTS
        assert all(drawn.values()), drawn
        assert shown.page.evaluate("document.documentElement.scrollWidth") == width
        background = shown.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert of_rgb(background) == theme.background
        # Every network is a line in every panel, in the colour that its rate has in all figures.
        wait_for(shown.page, of_rates(*RATES, theme=theme))
        assert shown.requests == [report.as_uri()]
        assert shown.complaints == []


def test_a_click_on_a_rate_shows_it_alone_and_a_click_on_another_adds_it(page: Page) -> None:
    section = page.locator("#mnist-networks")
    section.get_by_role("button", name="0.3").click()
    wait_for(page, of_rates("0.3"))
    section.get_by_role("button", name="0.2 (candidate)").click()
    wait_for(page, of_rates("0.2 (candidate)", "0.3"))
    section.get_by_role("button", name="0.3").click()
    section.get_by_role("button", name="0.2 (candidate)").click()
    wait_for(page, of_rates(*RATES))


def place_of(page: Page, network: str, epoch: int) -> tuple[float, float]:
    """Find where the first panel of MNIST's networks has a network's point."""
    x, y = page.evaluate(
        "([network, epoch]) => { const box = ["
        "...document.querySelectorAll('#mnist-by-epoch [class*=mark-symbol] path')].find((each) =>"
        " each.__data__.datum.network === network && each.__data__.datum.epoch === epoch)"
        ".getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; }",
        [network, epoch],
    )
    return x, y


def told(page: Page) -> dict[str, str]:
    """Read what is told of the network that is pointed at."""
    pairs = page.locator("#mnist-networks .readout dl div").all()
    return dict(pair.locator("dt, dd").all_inner_texts() for pair in pairs)


def test_pointing_lights_a_network_in_every_panel_a_click_keeps_it_and_escape_lets_it_go(
    page: Page,
) -> None:
    which = "dataset == 'mnist' and learning_rate == 0.3 and seed == 11 and epoch == 2"
    (trained,) = STUDY.history.query(which).to_dict("records")
    (measured,) = STUDY.diagnostics.query(which).to_dict("records")
    x, y = place_of(page, "0.3, seed 11", 2)
    page.mouse.move(x - 1, y)
    page.mouse.move(x, y)
    wait_for(page, of_rates("0.3")[:1])
    assert told(page) == {
        "0.3, seed 11": "lost in epoch 3, at step 120 (collapsed)",
        "epoch": "2",
        "test accuracy": f"{100 * trained['test_accuracy']:.2f} %",
        "training loss (nats)": f"{trained['train_loss']:.3g}",
        "gradient norm": f"{trained['gradient_norm_mean']:.3g}",
        "active features": f"{100 * measured['feature_sparsity_2']:.1f} %",
        "effective rank": f"{measured['effective_rank_2']:.1f}",
        "sharpness": f"{measured['sharpness']:.3g}",
        "2 / rate": "6.67",
    }
    page.mouse.down()
    page.mouse.up()
    page.mouse.move(2, 2)
    assert page.locator("#mnist-networks select").input_value() == "0.3, seed 11"
    wait_for(page, of_rates("0.3")[:1])
    page.keyboard.press("Escape")
    wait_for(page, of_rates(*RATES))
    assert told(page) == {}


def test_a_network_can_be_chosen_without_a_mouse(page: Page) -> None:
    page.get_by_role("combobox", name="Network").first.select_option("0.6, seed 14")
    wait_for(page, of_rates("0.6")[:1])
    assert told(page)["0.6, seed 14"] == "not lost"


def test_a_cross_marks_in_every_panel_when_a_network_was_lost(page: Page) -> None:
    crosses = page.evaluate(
        "[...document.querySelectorAll('#mnist-by-epoch [class*=mark-symbol] path')]"
        ".map((each) => each.__data__).filter((item) => item.datum.how)"
        ".map((item) => [item.datum.network, item.x / item.mark.group.width])"
    )
    lost = {("0.3, seed 11", 120), ("0.6, seed 11", 7), ("0.6, seed 12", 81), ("0.6, seed 13", 11)}
    expected = sorted((name, step / (4 * STEPS_PER_EPOCH)) for name, step in lost)
    assert len(crosses) == PANELS * len(lost)
    for panel in range(PANELS):
        shown = sorted(map(tuple, crosses[panel * len(lost) : (panel + 1) * len(lost)]))
        assert [name for name, _ in shown] == [name for name, _ in expected]
        places = [place for _, place in shown]
        assert places == pytest.approx([place for _, place in expected])


def cells(page: Page, section: str) -> list[list[str]]:
    """Read the first table of a section, its heads first."""
    rows = page.locator(f"{section} table").first.locator("tr").all()
    return [row.locator("th, td").all_inner_texts() for row in rows]


def test_the_table_of_ends_says_which_rates_lost_networks_and_when(page: Page) -> None:
    heads, *rows = cells(page, "#ends")
    assert heads[:6] == [
        *("dataset", "learning rate", "lost", "lost in epoch", "trained", "undertrained")
    ]
    assert [row[:6] for row in rows if row[0] == "Fashion-MNIST"] == [
        ["Fashion-MNIST", "0.1", "0", "–", "3", "1"],
        ["Fashion-MNIST", "0.2 (candidate)", "0", "–", "4", "0"],
        ["Fashion-MNIST", "0.3", "1", "3", "3", "0"],
        ["Fashion-MNIST", "0.6", "3", "1 (2 networks), 3", "1", "0"],
    ]


def test_the_page_begins_with_the_best_rate_and_with_what_was_lost(page: Page) -> None:
    means = STUDY.seeds[STUDY.seeds["outcome"] == "trained"]
    best = means[means["dataset"] == "mnist"].groupby("learning_rate")["test_accuracy"].mean()
    first, _ = page.locator("header li:not(nav li)").all_inner_texts()
    assert first.startswith(f"MNIST: the rate {best.idxmax():g} ")
    assert first.endswith(
        f" ends best, at {100 * best.max():.2f} % test accuracy on average. "
        "Lost: 1 of 4 at 0.3 (epoch 3), 3 of 4 at 0.6 (epochs 1 to 3)."
    )


def test_the_table_of_networks_has_every_epoch_until_they_are_lost(page: Page) -> None:
    _, *rows = cells(page, "#mnist-networks")
    epochs = [row[1] for row in rows if row[0] == "0.3, seed 11"]
    assert epochs == ["0", "1", "2"]
    assert len(rows) == 16 * 5 - (2 + 4 + 2 + 4)


def test_a_verdict_unfolds_to_its_comparisons(page: Page) -> None:
    assert page.locator("#verdicts details.claim > summary").all_inner_texts() == [
        "undecided Larger rates converge faster.\n"
        "0.3 against 0.1 (MNIST), steps to the lower threshold: × 1.10 (× 0.70 or more)",
        "supported 0.6 is unstable.\n"
        "0.6 (Fashion-MNIST), share lost, against 25 %: 95 % (75 to 100)",
        "refuted The printed numbers are the notebook's.",
    ]
    assert cells(page, "#about-faster") == [
        ["recipe", "comparison", "effect", "95 % interval", "result"],
        [
            *("core (decides)", "0.3 against 0.1 (MNIST), steps to the upper threshold"),
            *("× 0.85", "× 0.80 to × 0.90", "better"),
        ],
        [
            *("core (decides)", "0.3 against 0.1 (MNIST), steps to the lower threshold"),
            *("× 1.10", "× 0.70 or more", "open"),
        ],
        [
            *("clipped", "0.3 against 0.1 (MNIST), steps to the upper threshold"),
            *("× 0.70", "× 0.60 to × 0.80", "better"),
        ],
    ]
    assert (
        page.locator("#about-faster > p")
        .inner_text()
        .endswith("The halves of the seeds, judged alone: undecided, refuted.")
    )
    unstable = page.locator("#about-unstable > p").inner_text()
    assert unstable.endswith("Each half of the seeds, judged alone: supported.")
    assert cells(page, "#about-printed")[1:] == [
        ["core (decides)", "printed and the notebook's", "–", "–", "not so"]
    ]


def test_the_ways_to_train_have_the_colours_of_their_rates(page: Page) -> None:
    key = page.locator("#mechanism .key").first
    drawn = dict(
        zip(
            key.locator("li").all_inner_texts(),
            key.evaluate(
                "(key) => [...key.querySelectorAll('li > :first-child')]"
                ".map((each) => getComputedStyle(each).borderTopColor)"
            ),
            strict=True,
        )
    )
    found = {name: of_rgb(colour) for name, colour in drawn.items()}
    small, large = (rate_colour(rate, (0.1, 0.3, 0.6), LIGHT) for rate in (0.1, 0.3))
    between = found.pop("0.3 for 5 epochs, then 0.1")
    assert found == {
        "0.1": small,
        "0.3": large,
        "0.1, smaller batches: rate / batch as at 0.3": small,
    }
    assert between not in (small, large)


def test_an_arm_that_decays_has_its_first_epochs_at_its_end(page: Page) -> None:
    numbers = page.locator("#mnist-mechanism [class*='role-mark'][class*='mark-text'] text")
    assert numbers.all_text_contents() == ["5"] * 3  # one per panel


def test_without_an_audit_the_report_shows_the_study_alone(
    browser: Browser, tmp_path: Path
) -> None:
    write(STUDY, tmp_path / "metrics")
    with opened(browser, make(tmp_path / "metrics", tmp_path / "report.html")) as shown:
        settled(shown.page)
        assert shown.page.locator("h2").all_inner_texts() == [
            *("How the networks end", "MNIST: every network", "Fashion-MNIST: every network")
        ]
        assert shown.complaints == []


@pytest.mark.parametrize(("command", "theme"), [("show", LIGHT), ("diff", DARK)])
def test_dvc_plots_draws_without_a_request_or_a_complaint(
    browser: Browser, plotted: Path, command: str, theme: Theme
) -> None:
    path = plotted / command / "index.html"
    with opened(browser, path, scheme=theme.name) as shown:
        # The menu of a plot is a drawing too, without that class.
        shown.page.wait_for_function("document.querySelectorAll('svg.marks').length === 5")
        drawn = marks(shown.page, ".vega-embed")
        assert all(drawn.values()), drawn
        background = shown.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert of_rgb(background) == theme.background
        assert shown.requests == [path.as_uri()]
        assert shown.complaints == []
