"""`make compare` says whether a run reproduces the committed tables, in real git repositories."""

import io
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pandas as pd
import pytest

from stages.common.errors import UserError
from tests.repositories import PROJECT, begin, call, commit
from tests.test_agreement import networks
from tools import compare as tool
from tools.demo import copy_project

CLAIMS = """claim,statement,recipe,comparison,verdict
faster,It is faster.,core,first,refuted
faster,It is faster.,core,second,refuted
faster,It is faster.,clipped,first,
better,It is better.,core,first,refuted
better,It is better.,clipped,first,
"""


def write(repository: Path, table: pd.DataFrame, claims: str = CLAIMS) -> None:
    (repository / "metrics").mkdir(exist_ok=True)
    table.to_csv(repository / "metrics" / "seeds.csv", index=False)
    (repository / "metrics" / "claims.csv").write_text(claims, encoding="utf-8")


def compare(repository: Path, *revisions: str, status: int) -> str:
    """Compare within this process: importing the libraries anew would take seconds each time."""
    told = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(told),
        redirect_stderr(told),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("error")  # a user would see them among the results
        patch.chdir(repository)
        patch.setattr(sys, "argv", ["compare", *revisions])
        with pytest.raises((SystemExit, UserError)) as ended:
            tool.main()
    if isinstance(ended.value, UserError):
        assert status == 1
        return f"{told.getvalue()}error: {ended.value}\n"
    assert ended.value.code == status
    return told.getvalue()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Commit the tables of eight networks at each of two rates, and their parameters."""
    write(tmp_path, networks(0))
    (tmp_path / "params.yaml").write_text("lr: 0.3\nseeds: [1, 2]\n", encoding="utf-8")
    begin(tmp_path)
    return tmp_path


def with_doubled_loss() -> pd.DataFrame:
    table = networks(1)
    table.loc[table["learning_rate"] == 0.2, "train_loss"] *= 2
    return table


def test_the_same_tables_agree(repository: Path) -> None:
    assert compare(repository, status=0) == (
        "Yes: workspace agrees with HEAD.\n"
        "In all 2 cells, all that is compared is the same to the last digit.\n"
        "0 of 2 verdicts differ, 0 contradict.\n"
    )


def test_other_networks_of_the_same_kind_agree_and_their_largest_differences_are_listed(
    repository: Path,
) -> None:
    write(repository, networks(1))
    answer, counts, told, _, *table = compare(repository, status=0).splitlines()
    assert answer == "Yes: workspace agrees with HEAD."
    assert counts == "0 of 16 comparisons in 2 cells differ by more than seeds do."
    assert told == "0 of 2 verdicts differ, 0 contradict."
    assert table[:9] == [
        "| quantity            |   comparisons |   differ |",
        "|:--------------------|--------------:|---------:|",
        "| outcomes            |             4 |        0 |",
        "| validation accuracy |             2 |        0 |",
        "| test accuracy       |             2 |        0 |",
        "| training loss       |             2 |        0 |",
        "| test loss           |             2 |        0 |",
        "| steps to threshold  |             2 |        0 |",
        "| active features     |             2 |        0 |",
    ]
    assert table[10:12] == [
        "The 10 largest differences, the least probable first. A cell is one learning rate of one "
        "recipe on one dataset.",
        "The intervals are simultaneous: all of them hold with 97.5% confidence; p is corrected "
        "for the number of comparisons (Holm).",
    ]
    assert len(table[15:]) == 10


def test_a_difference_that_seeds_do_not_explain_ends_with_status_1(repository: Path) -> None:
    write(repository, with_doubled_loss())
    answer, counts, *rest = compare(repository, status=1).splitlines()
    assert answer == "No: workspace does not agree with HEAD."
    assert counts.startswith("1 of 16 comparisons in 2 cells differ")
    assert "| training loss       |             2 |        1 |" in rest
    first = next(line for line in rest if line.startswith("| mnist grid"))
    assert first.startswith("| mnist grid 0.2 | training loss ")


@pytest.mark.parametrize("verdict", ["supported", "equivalent"])
def test_a_verdict_that_contradicts_the_other_is_listed_and_ends_with_status_1(
    repository: Path, verdict: str
) -> None:
    write(
        repository,
        networks(0),
        CLAIMS.replace(
            "better,It is better.,core,first,refuted", f"better,It is better.,core,first,{verdict}"
        ),
    )
    told = compare(repository, status=1)
    assert told.startswith("No: workspace does not agree with HEAD.\nIn all 2 cells, ")
    assert "1 of 2 verdicts differ, 1 contradict." in told
    assert told.endswith(
        "Verdicts that differ. Undecided contradicts nothing.\n\n"
        "| claim         | HEAD    | workspace   |\n"
        "|:--------------|:--------|:------------|\n"
        f"| It is better. | refuted | {verdict:<11} |\n"
    )


@pytest.mark.parametrize("first", ["refuted", "undecided"])
def test_a_verdict_that_one_side_leaves_undecided_is_listed_and_decides_nothing(
    repository: Path, first: str
) -> None:
    undecided = CLAIMS.replace(
        "better,It is better.,core,first,refuted", "better,It is better.,core,first,undecided"
    )
    claims = [CLAIMS, undecided] if first == "refuted" else [undecided, CLAIMS]
    write(repository, networks(0), claims[0])
    call(repository, "git", "commit", "--allow-empty", "--quiet", "--all", "--message", "First")
    write(repository, networks(0), claims[1])
    told = compare(repository, status=0)
    assert told.startswith("Yes: workspace agrees with HEAD.\nIn all 2 cells, ")
    assert "1 of 2 verdicts differ, 0 contradict." in told
    assert [cell.strip() for cell in told.splitlines()[-1].split("|")[1:3]] == [
        "It is better.",
        first,
    ]


def test_two_revisions_are_compared_whatever_the_workspace_holds(repository: Path) -> None:
    call(repository, "git", "tag", "first")
    write(repository, with_doubled_loss())
    commit(repository, "Another run")
    write(repository, networks(0))
    assert compare(repository, "first", "HEAD", status=1).startswith(
        "No: HEAD does not agree with first.\n"
    )
    assert compare(repository, "first", status=0).startswith("Yes: workspace agrees with first.\n")


def test_make_compares_what_it_is_told(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    copy_project(PROJECT, repository)
    write(repository, networks(0))
    begin(repository)
    call(repository, "git", "tag", "first")
    write(repository, with_doubled_loss())
    commit(repository, "Another run")
    make = ("make", "--silent", "--old-file=.venv/ready", "compare")
    assert call(repository, *make).startswith("Yes: workspace agrees with HEAD.\n")
    told = call(repository, *make, "OLD=first", "NEW=HEAD", status=2)
    assert told.startswith("No: HEAD does not agree with first.\n")
    for odd in ("", "two 'words\"", "-h"):
        told = call(repository, *make, f"OLD={odd}", status=2)
        assert told.startswith(f"error: git cannot read {odd!r} (no such revision): give a commit")


def test_tables_that_did_not_change_do_not_hide_what_did(repository: Path) -> None:
    unchanged = networks(2, rates=tuple(rate / 100 for rate in range(1, 101)))
    (repository / "metrics" / "audit").mkdir()
    unchanged.to_csv(repository / "metrics" / "audit" / "networks.csv", index=False)
    commit(repository, "Audit")
    table = networks(0)
    table.loc[table["learning_rate"] == 0.2, "outcome"] = "lost"
    write(repository, table)
    assert compare(repository, status=1).splitlines()[:4] == [
        "No: workspace does not agree with HEAD.",
        "3 of 3 comparisons in 1 cells differ by more than seeds do. Not counted: 101 cells that "
        "hold the same networks on both sides.",
        "0 of 2 verdicts differ, 0 contradict.",
        "",
    ]


def test_networks_and_values_that_are_missing_on_one_side_are_told(repository: Path) -> None:
    table = networks(1).iloc[:-2]
    table.loc[:5, "test_accuracy"] = float("nan")
    table.loc[3, "steps_to_threshold"] = 0
    write(repository, table)
    assert compare(repository, status=0).splitlines()[:6] == [
        "Yes, as far as they can be compared: workspace agrees with HEAD.",
        "0 of 15 comparisons in 2 cells differ by more than seeds do.",
        "0 of 2 verdicts differ, 0 contradict.",
        "metrics/seeds.csv: in the cells compared HEAD has 16 networks, workspace 14.",
        "metrics/seeds.csv: test accuracy is missing for 0 trained networks of HEAD and 6 of "
        "workspace.",
        "metrics/seeds.csv: steps to threshold is missing for 0 trained networks of HEAD and 1 of "
        "workspace.",
    ]


def test_what_only_one_side_has_is_told_and_decides_nothing(repository: Path) -> None:
    write(repository, networks(0, rates=(0.1, 0.4)))
    (repository / "params.yaml").write_text(
        "lr: 0.5\n7: 1\nseeds: [1, 2]  # two\n", encoding="utf-8"
    )
    (repository / "metrics" / "audit").mkdir()
    networks(0).to_csv(repository / "metrics" / "audit" / "networks.csv", index=False)
    assert compare(repository, status=0).splitlines() == [
        "Yes, as far as they can be compared: workspace agrees with HEAD.",
        "In all 1 cells, all that is compared is the same to the last digit.",
        "0 of 2 verdicts differ, 0 contradict.",
        "metrics/seeds.csv: only HEAD has mnist grid 0.2.",
        "metrics/seeds.csv: only workspace has mnist grid 0.4.",
        "metrics/audit/networks.csv was not compared: HEAD has none to compare.",
        "These are two different studies: params.yaml differs in 7, lr.",
    ]


def test_a_claim_that_only_one_side_has_is_told_and_decides_nothing(repository: Path) -> None:
    write(repository, networks(0), CLAIMS.replace("better,", "best,"))
    assert compare(repository, status=0).splitlines() == [
        "Yes, as far as they can be compared: workspace agrees with HEAD.",
        "In all 2 cells, all that is compared is the same to the last digit.",
        "0 of 1 verdicts differ, 0 contradict.",
        "metrics/claims.csv: only HEAD has better.",
        "metrics/claims.csv: only workspace has best.",
    ]


def test_verdicts_by_the_rules_of_an_earlier_audit_are_not_compared(repository: Path) -> None:
    write(repository, networks(0), "claim,rung,verdict\nfaster,core,supported\n")
    assert compare(repository, status=0).splitlines() == [
        "Yes, as far as they can be compared: workspace agrees with HEAD.",
        "In all 2 cells, all that is compared is the same to the last digit.",
        "0 of 0 verdicts differ, 0 contradict.",
        "metrics/claims.csv was not compared: workspace has none to compare.",
    ]


def test_an_unknown_revision_is_named(repository: Path) -> None:
    assert compare(repository, "v9", status=1) == (
        "error: git cannot read 'v9' (no such revision): give a commit, a branch, a tag or "
        "workspace, in a clone of your own\n"
    )


def test_outside_a_checkout_it_says_so(tmp_path: Path) -> None:
    told = compare(tmp_path, status=1)
    assert told.startswith("error: git cannot read 'HEAD' (fatal: not a git repository")
    assert told.count("\n") == 1


def test_without_results_it_says_what_to_run(repository: Path) -> None:
    (repository / "metrics" / "seeds.csv").unlink()
    assert compare(repository, status=1) == (
        "error: HEAD and workspace have no table in common (metrics/seeds.csv, "
        "metrics/audit/networks.csv): run dvc repro first, or name two revisions that have "
        "results\n"
    )


def test_tables_without_a_rate_in_common_are_refused(repository: Path) -> None:
    write(repository, networks(0, rates=(0.3,)))
    assert compare(repository, status=1) == (
        "error: HEAD and workspace have no learning rate in common: compare runs of the same "
        "datasets, recipes and rates\n"
    )


DAMAGES = {
    "it is empty": lambda _: b"",
    "it holds no network": lambda text: text.splitlines()[0],
    "it lacks the columns seed": lambda text: text.replace(b"seed", b"seat", 1),
    "it lacks the columns outcome": lambda text: text.replace(b"outcome", b"income", 1),
    "could not convert string to float: 'O.1'": lambda text: text.replace(b",0.1,", b",O.1,"),
    "validation_accuracy holds something that is not a number": (
        lambda text: text.replace(b",0.9", b",O.9", 1)
    ),
    "row 17 has 5 values instead of 12": lambda text: b",".join(text.split(b",")[:-7]),
    "outcome is not one of trained, undertrained, lost": (
        lambda text: text.replace(b"trained", b"tamed", 1)
    ),
    "dataset is missing in a row": lambda text: text.replace(b"\nmnist", b"\n", 1),
    "it holds a network twice": lambda text: text + text.splitlines()[-1],
    "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte": (
        lambda text: b"\xff" + text
    ),
}


@pytest.mark.parametrize("told", DAMAGES)
def test_a_damaged_table_is_named(repository: Path, told: str) -> None:
    path = repository / "metrics" / "seeds.csv"
    path.write_bytes(DAMAGES[told](path.read_bytes()))
    assert compare(repository, status=1) == (
        f"error: metrics/seeds.csv of workspace is damaged ({told}): recreate it with: dvc repro\n"
    )


@pytest.mark.parametrize(
    ("claims", "told"),
    [
        (
            CLAIMS.replace("refuted", "refused"),
            "verdict is not one of supported, refuted, equivalent, undecided, not run",
        ),
        (CLAIMS.replace("refuted", "supported", 1), "a claim has no verdict, or two"),
        (CLAIMS.replace("refuted", ""), "a claim has no verdict, or two"),
        (CLAIMS.splitlines()[0], "a claim has no verdict, or two"),
        (CLAIMS.replace("verdict", "word"), "it lacks the columns verdict"),
    ],
)
def test_a_damaged_table_of_claims_is_named(repository: Path, claims: str, told: str) -> None:
    write(repository, networks(0), claims)
    assert compare(repository, status=1) == (
        f"error: metrics/claims.csv of workspace is damaged ({told}): recreate it with: make "
        "audit\n"
    )


def test_a_revision_whose_table_git_has_lost_is_no_revision_without_it(repository: Path) -> None:
    name = call(repository, "git", "rev-parse", "HEAD:metrics/seeds.csv").strip()
    (repository / ".git" / "objects" / name[:2] / name[2:]).unlink()
    told = compare(repository, status=1)
    assert told.startswith("error: git cannot read 'HEAD' (")
    assert told.endswith("give a commit, a branch, a tag or workspace, in a clone of your own\n")
    assert told.count("\n") == 1


def test_a_link_to_nowhere_in_the_place_of_a_table_is_named(repository: Path) -> None:
    (repository / "metrics" / "seeds.csv").unlink()
    (repository / "metrics" / "seeds.csv").symlink_to("nowhere")
    assert "seeds.csv of workspace is damaged (it is not a file)" in compare(repository, status=1)


def test_no_room_for_the_files_of_a_revision_is_told(repository: Path) -> None:
    ended = call(
        repository,
        *("sh", "-c", f"ulimit -f 0; {sys.executable} -m tools.compare | cat"),
        PYTHONPATH=str(PROJECT),
    )
    assert ended.startswith("error: the files of HEAD cannot be copied to a temporary folder (")
    assert ended.endswith("): free some space, or name another folder in TMPDIR\n")
    assert ended.count("\n") == 1


def test_a_folder_in_the_place_of_a_table_is_named(repository: Path) -> None:
    (repository / "metrics" / "seeds.csv").unlink()
    (repository / "metrics" / "seeds.csv").mkdir()
    assert compare(repository, status=1) == (
        "error: metrics/seeds.csv of workspace is damaged (it is not a file): recreate it with: "
        "dvc repro\n"
    )


def test_a_damaged_table_of_a_revision_is_not_to_be_recreated(repository: Path) -> None:
    path = repository / "metrics" / "seeds.csv"
    whole = path.read_bytes()
    path.write_bytes(b"")
    commit(repository, "Damaged")
    path.write_bytes(whole)
    assert compare(repository, status=1) == (
        "error: metrics/seeds.csv of HEAD is damaged (it is empty): name another revision\n"
    )


def test_a_reader_that_stops_early_gets_no_complaint(repository: Path) -> None:
    compared = f"{{ {sys.executable} -m tools.compare; echo status $? >&2; }} | true"
    environment = {"PYTHONPATH": str(PROJECT)}
    assert call(repository, "sh", "-c", compared, **environment) == "status 0\n"
