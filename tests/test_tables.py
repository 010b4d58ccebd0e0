"""The tables of metrics/, made of a study with known content."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from stages import aggregate
from stages.common.errors import UserError
from tests.conftest import PROJECT
from tests.measured_study import ENDING, NETWORK, PARAMS, PLACE, measured_study
from tests.repositories import begin, call

STUDY = measured_study()
GRID_MD = """\
| dataset   | rate            | seeds: trained, undertrained, lost   | test accuracy of trained seeds (%)   | training loss (nats)   | steps to threshold   | active features, last hidden layer (%)   |
|:----------|:----------------|:-------------------------------------|:-------------------------------------|:-----------------------|:---------------------|:-----------------------------------------|
| mnist     | 1e-05           | 0, 4, 0                              | –                                    | –                      | –                    | –                                        |
| mnist     | 0.3             | 1, 1, 2                              | 87.20                                | 0.4321                 | 28                   | 23.4                                     |
| mnist     | 0.3 (candidate) | 0, 1, 3                              | –                                    | –                      | –                    | –                                        |
| mnist     | 1               | 0, 0, 4                              | –                                    | –                      | –                    | –                                        |
| digits    | 1e-05           | 3, 1, 0                              | 95.00 ± 4.97                         | 0.2136 ± 0.0384        | 78                   | 33.6 ± 6.5                               |
| digits    | 0.3             | 3, 0, 1                              | 91.00 ± 6.57                         | 0.1135 ± 0.0382        | 41 ± 11              | 13.5 ± 4.0                               |
| digits    | 0.3 (candidate) | 4, 0, 0                              | 97.50 ± 1.72                         | 0.0104 ± 0.0006        | 38 ± 8               | 17.7 ± 1.4                               |
| digits    | 1               | 2, 0, 2                              | 82.00                                | 0.0523                 | 23                   | 6.2                                      |
"""  # noqa: E501


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder with the study's parameters and runs."""
    (tmp_path / "params.yaml").write_text(PARAMS, encoding="utf-8")
    STUDY.write(tmp_path / "metrics" / "runs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["aggregate", "metrics/runs", "metrics"])
    return tmp_path


def made(project: Path) -> dict[str, str]:
    """Read every table."""
    metrics = project / "metrics"
    return {path.name: path.read_text("utf-8") for path in metrics.iterdir() if path.is_file()}


def assert_written(path: Path, expected: pd.DataFrame) -> None:
    """Compare text by text, with six significant digits in both."""
    finite = expected.replace([np.inf, -np.inf], np.nan)
    text = finite.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    again = path.with_suffix(".expected")
    again.write_text(text, encoding="utf-8")
    found, wanted = (pd.read_csv(file, dtype=str, keep_default_na=False) for file in (path, again))
    pd.testing.assert_frame_equal(found, wanted)


def test_seeds_have_how_each_network_ended_and_its_last_epoch(project: Path) -> None:
    aggregate.main()
    assert_written(project / "metrics" / "seeds.csv", STUDY.seeds)


def test_history_is_that_of_every_run_with_the_rate_in_force(project: Path) -> None:
    aggregate.main()
    assert_written(project / "metrics" / "history.csv", STUDY.history)


def test_diagnostics_are_those_of_every_run_with_a_column_per_layer(project: Path) -> None:
    aggregate.main()
    assert_written(project / "metrics" / "diagnostics.csv", STUDY.diagnostics)


def test_grid_counts_how_seeds_ended_and_averages_those_that_trained(project: Path) -> None:
    aggregate.main()
    counts = {
        #                       trained, undertrained, lost, exploded; seeds at the threshold
        ("mnist", "grid", 1.0): (4, 0, 0, 4, 2, 2),
        ("mnist", "grid", 1e-05): (4, 0, 4, 0, 0, 0),
        ("mnist", "grid", 0.3): (4, 1, 1, 2, 1, 3),
        ("mnist", "candidate", 0.3): (4, 0, 1, 3, 3, 0),
        ("digits", "grid", 1.0): (4, 2, 0, 2, 1, 3),
        ("digits", "grid", 1e-05): (4, 3, 1, 0, 0, 2),
        ("digits", "grid", 0.3): (4, 3, 0, 1, 1, 4),
        ("digits", "candidate", 0.3): (4, 4, 0, 0, 0, 4),
    }
    endings = ("seeds_trained", "seeds_undertrained", "seeds_lost", "seeds_exploded")
    named = ("seeds", *endings, "seeds_at_threshold")
    groups, rows = STUDY.seeds.groupby(PLACE), []
    for place, row_counts in counts.items():
        row = dict(zip(PLACE, place, strict=True)) | dict(zip(named, row_counts, strict=True))
        trained = groups.get_group(place).query("outcome == 'trained'")
        for quantity in STUDY.seeds.columns.drop([*NETWORK, *ENDING, "chance_accuracy"]):
            known = trained[quantity].dropna().to_numpy(float)
            mean = sum(known) / len(known) if len(known) else np.nan
            deviation = low = high = np.nan
            if len(known) >= 3:
                deviation = np.std(known, ddof=1)
                low, high = stats.t.interval(0.95, len(known) - 1, loc=mean, scale=stats.sem(known))
            row |= {f"{quantity}_mean": mean, f"{quantity}_std": deviation}
            row |= {f"{quantity}_low": low, f"{quantity}_high": high}
        rows.append(row)
    assert_written(project / "metrics" / "grid.csv", pd.DataFrame(rows))


def test_table_to_read_has_the_rates_in_order_and_means_of_trained_seeds(project: Path) -> None:
    aggregate.main()
    assert made(project)["grid.md"] == GRID_MD


def test_table_to_read_has_no_intervals_of_two_seeds_and_keeps_all_decimals(project: Path) -> None:
    for folder in (project / "metrics" / "runs").glob("*/*"):
        for name in ("history", "networks", "features", "sharpness"):
            path = folder / f"{name}.csv"
            pd.read_csv(path).query("seed in (9, 42)").to_csv(path, index=False)
        facts = json.loads((folder / "run.json").read_text("utf-8"))
        (folder / "run.json").write_text(json.dumps(facts | {"seeds": [9, 42]}), encoding="utf-8")
    only_digits = PARAMS.replace("[mnist, digits]", "[digits]")
    (project / "params.yaml").write_text(only_digits, encoding="utf-8")
    aggregate.main()
    rows = [line.strip("|").split("|") for line in made(project)["grid.md"].splitlines()[2:]]
    assert [[cell.strip() for cell in row[1:]] for row in rows] == [
        ["1e-05", "2, 0, 0", "94.00", "0.2052", "77", "32.2"],
        ["0.3", "2, 0, 0", "91.50", "0.1152", "42", "13.7"],
        ["0.3 (candidate)", "2, 0, 0", "97.75", "0.0103", "36", "17.3"],
        ["1", "1, 0, 1", "80.00", "0.0512", "21", "5.1"],
    ]


def test_summary_says_how_the_candidate_ended_and_which_rate_is_best(project: Path) -> None:
    aggregate.main()
    expected = {
        "mnist": {
            "candidate": {
                "learning_rate": 0.3,
                "seeds": 4,
                "seeds_trained": 0,
                "seeds_undertrained": 1,
                "seeds_lost": 3,
            },
            "best_of_grid": {
                "learning_rate": 0.3,
                "seeds_trained": 1,
                "validation_accuracy_of_trained": 0.883,
                "test_accuracy_of_trained": 0.872,
            },
        },
        "digits": {
            "candidate": {
                "learning_rate": 0.3,
                "seeds": 4,
                "seeds_trained": 4,
                "seeds_undertrained": 0,
                "seeds_lost": 0,
                "test_accuracy_of_trained": 0.975,
                "validation_accuracy_of_trained": 0.975,
                "test_loss_of_trained": 0.135,
            },
            "best_of_grid": {
                "learning_rate": 0.3,
                "seeds_trained": 3,
                "validation_accuracy_of_trained": 0.93,
                "test_accuracy_of_trained": 0.91,
            },
        },
    }
    assert made(project)["summary.json"] == json.dumps(expected, indent=2) + "\n"


def change(path: Path, **columns: float | list[str]) -> None:
    """Rewrite columns of a table."""
    pd.read_csv(path).assign(**columns).to_csv(path, index=False)


def test_nothing_is_selected_without_a_validation_split(project: Path) -> None:
    for path in (project / "metrics" / "runs").glob("*/*/history.csv"):
        change(path, validation_accuracy=np.nan)
    aggregate.main()
    summary = json.loads(made(project)["summary.json"])
    assert list(summary["mnist"]) == list(summary["digits"]) == ["candidate"]
    assert "validation_accuracy_of_trained" not in summary["digits"]["candidate"]
    assert summary["digits"]["candidate"]["test_accuracy_of_trained"] == 0.975


@pytest.mark.parametrize("layers", [1, 3, 11])
def test_the_table_to_read_shows_the_last_of_any_number_of_layers(
    project: Path, layers: int
) -> None:
    numbers = range(1, layers + 1)
    for path in (project / "metrics" / "runs").glob("*/*/features.csv"):
        first = pd.read_csv(path).query("layer == 1")
        stacked = [first.assign(layer=n, feature_sparsity=n / 100) for n in numbers]
        pd.concat(stacked).to_csv(path, index=False)
    aggregate.main()
    diagnostics = pd.read_csv(project / "metrics" / "diagnostics.csv")
    ranks = diagnostics.columns[diagnostics.columns.str.startswith("effective_rank")]
    assert list(ranks) == [f"effective_rank_{number}" for number in numbers]
    candidate = made(project)["grid.md"].splitlines()[-2]
    assert candidate.split("|")[2].strip() == "0.3 (candidate)"
    assert candidate.split("|")[-2].strip() == f"{layers}.0 ± 0.0"


def test_when_a_seed_dies_dvc_metrics_diff_says_so(project: Path) -> None:
    aggregate.main()
    (project / "dvc.yaml").write_text("metrics:\n  - metrics/summary.json\n", encoding="utf-8")
    begin(project)
    call(project, "dvc", "init", "--quiet")
    candidate = project / "metrics" / "runs" / "digits" / "candidate" / "networks.csv"
    when = {"lost_epoch": 2, "lost_step": 44, "lost_how": "exploded"}
    last = {name: [None, None, None, value] for name, value in when.items()}
    change(candidate, outcome=["trained", "trained", "trained", "lost"], **last)
    aggregate.main()
    table = call(project, "dvc", "metrics", "diff", "--md").strip().splitlines()
    assert [[cell.strip() for cell in line.split("|")[2:-1]] for line in table[2:]] == [
        ["digits.candidate.seeds_lost", "0", "1", "1"],
        ["digits.candidate.seeds_trained", "4", "3", "-1"],
        ["digits.candidate.test_accuracy_of_trained", "0.975", "0.98", "0.005"],
        ["digits.candidate.test_loss_of_trained", "0.135", "0.12333", "-0.01167"],
        ["digits.candidate.validation_accuracy_of_trained", "0.975", "0.97", "-0.005"],
    ]


@pytest.mark.parametrize(
    ("place", "fact", "value", "said"),
    [
        ("digits/0.3", "learning_rate", 0.31, "learning_rate 0.31 instead of 0.3"),
        ("mnist/candidate", "learning_rate", 0.48, "learning_rate 0.48 instead of 0.3"),
        ("digits/1", "dataset", "mnist", "dataset mnist instead of digits"),
    ],
)
def test_a_run_of_something_else_than_its_place_says_is_refused(
    project: Path, place: str, fact: str, value: object, said: str
) -> None:
    path = project / "metrics" / "runs" / place / "run.json"
    facts = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(facts | {fact: value}), encoding="utf-8")
    with pytest.raises(UserError) as refusal:
        aggregate.main()
    assert str(refusal.value) == (
        f"metrics/runs/{place}/run.json says {said}: recreate it with: dvc repro"
    )
    assert made(project) == {}


@pytest.mark.parametrize(
    ("place", "stage"),
    [("digits/1e-05", "record@digits-1e-05"), ("mnist/candidate", "record_candidate@mnist")],
)
def test_an_absent_run_is_named_with_the_remedy(project: Path, place: str, stage: str) -> None:
    path = project / "metrics" / "runs" / place / "networks.csv"
    path.unlink()
    with pytest.raises(UserError) as refusal:
        aggregate.main()
    assert str(refusal.value) == (
        f"metrics/runs/{place}/networks.csv does not exist: "
        f"create it with: dvc repro --force --single-item {stage}"
    )


@pytest.mark.parametrize("damage", ["rows cut off", "the last row twice", "another seed"])
@pytest.mark.parametrize("table", ["networks", "history", "features", "sharpness"])
def test_rows_that_are_not_those_of_the_run_are_refused(
    project: Path, table: str, damage: str
) -> None:
    path = project / "metrics" / "runs" / "digits" / "1" / f"{table}.csv"
    head, *rows = path.read_text("utf-8").splitlines()
    damaged = {
        "rows cut off": [],
        "the last row twice": [*rows, rows[-1]],
        "another seed": [*rows[:-1], f"77,{rows[-1].partition(',')[2]}"],
    }
    path.write_text("\n".join([head, *damaged[damage], ""]), encoding="utf-8")
    with pytest.raises(UserError) as refusal:
        aggregate.main()
    assert str(refusal.value) == (
        f"metrics/runs/digits/1/{table}.csv is damaged (it lacks rows, has some twice, or has "
        f"those of other networks): recreate it with: dvc repro --force --single-item "
        f"record@digits-1"
    )
    assert made(project) == {}


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        ("asleep,,,", "outcome is not one of trained, undertrained, lost"),
        (",,,", "outcome is not one of trained, undertrained, lost"),
        ("lost,,7,exploded", "it does not say when or how a lost network was lost"),
        ("lost,2,,exploded", "it does not say when or how a lost network was lost"),
        ("lost,2,7,", "it does not say when or how a lost network was lost"),
    ],
)
def test_a_network_that_ended_as_none_can_is_refused(project: Path, ending: str, told: str) -> None:
    path = project / "metrics" / "runs" / "digits" / "1" / "networks.csv"
    head, first, *rows = path.read_text("utf-8").splitlines()
    seed, _, _, _, _, *others = first.split(",")
    path.write_text("\n".join([head, ",".join([seed, ending, *others]), *rows, ""]), "utf-8")
    with pytest.raises(UserError) as refusal:
        aggregate.main()
    assert str(refusal.value) == (
        f"metrics/runs/digits/1/networks.csv is damaged ({told}): recreate it with: "
        f"dvc repro --force --single-item record@digits-1"
    )
    assert made(project) == {}


def test_a_run_that_the_parameters_do_not_name_leaves_no_trace(project: Path) -> None:
    fewer = PARAMS.replace(", 0.3]", "]").replace("[mnist, digits]", "[digits]")
    (project / "params.yaml").write_text(fewer, encoding="utf-8")
    aggregate.main()
    beside_others = made(project)
    shutil.rmtree(project / "metrics" / "runs" / "mnist")
    shutil.rmtree(project / "metrics" / "runs" / "digits" / "0.3")
    aggregate.main()
    assert made(project) == beside_others
    seeds = pd.read_csv(project / "metrics" / "seeds.csv")
    assert seeds[PLACE].drop_duplicates().to_numpy().tolist() == [
        ["digits", "grid", 1.0],
        ["digits", "grid", 1e-05],
        ["digits", "candidate", 0.3],
    ]


def call_stage(project: Path, status: int) -> str:
    places = [str(project / place) for place in ("metrics/runs", "tables")]
    parameters = ["--params", str(project / "params.yaml")]
    command = [sys.executable, "-W", "error", "-m", "stages.aggregate", *places, *parameters]
    return call(PROJECT, *command, status=status)


def test_the_stage_writes_six_tables_and_says_nothing(project: Path) -> None:
    assert call_stage(project, status=0) == ""
    assert sorted(path.name for path in (project / "tables").iterdir()) == [
        "diagnostics.csv",
        "grid.csv",
        "grid.md",
        "history.csv",
        "seeds.csv",
        "summary.json",
    ]


def test_epochs_without_end_are_refused_at_once(project: Path) -> None:
    path = project / "metrics" / "runs" / "digits" / "1" / "run.json"
    facts = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(facts | {"epochs": 10**12}), encoding="utf-8")
    with pytest.raises(UserError, match=r"digits/1/history\.csv is damaged \(it lacks rows"):
        aggregate.main()


def test_the_stage_says_in_one_line_what_is_damaged(project: Path) -> None:
    history = project / "metrics" / "runs" / "mnist" / "1" / "history.csv"
    history.write_text("seed,epoch\n9,1\n", encoding="utf-8")
    assert call_stage(project, status=1) == (
        f"error: {history} is damaged (it has the columns seed, epoch): "
        "recreate it with: dvc repro --force --single-item record@mnist-1\n"
    )
    assert not (project / "tables").exists()
