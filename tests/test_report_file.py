"""The stage that writes the report: what it reads, and the file it leaves."""

import re
import sys
from pathlib import Path

import pytest

from stages import report_page
from stages.common.errors import UserError
from stages.report.tables import read_audit
from tests import audited
from tests.drawn_study import fabricate
from tests.repositories import PROJECT, call
from tests.test_plot import write
from tools import plots_page

MEGABYTE = 1_000_000


def make(metrics: Path, page: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["report", str(metrics), str(page)])
        report_page.main()


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    write(fabricate(seeds=(11, 12, 13)), tmp_path / "metrics")
    audited.write(tmp_path / "metrics")
    return tmp_path / "metrics"


def test_the_same_tables_make_the_same_bytes_and_it_is_said_where_they_are(
    metrics: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = [metrics.parent / "a.html", metrics.parent / "b.html"]
    for page in pages:
        make(metrics, page)
    assert pages[0].read_bytes() == pages[1].read_bytes()
    told = [f"Open {page.as_uri()} in a browser" for page in pages]
    assert capsys.readouterr().out.splitlines() == told


def test_a_reader_that_has_left_gets_no_complaint_and_a_full_disk_is_told(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics"
    write(fabricate(grid=(0.1,), seeds=(11,)), metrics)
    make = f"{sys.executable} -m stages.report_page {metrics} {metrics.parent}/page.html"
    environment = {"PYTHONPATH": str(PROJECT)}
    piped = f"{{ {make}; echo status $? >&2; }} | true"
    assert call(PROJECT, "sh", "-c", piped, **environment) == "status 0\n"
    assert call(PROJECT, "sh", "-c", f"{make} > /dev/full", status=1, **environment) == (
        "error: the output cannot be written (No space left on device)\n"
    )


def test_the_committed_tables_make_a_page_of_less_than_two_megabytes(tmp_path: Path) -> None:
    make(PROJECT / "metrics", tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 2 * MEGABYTE


def test_where_the_mechanism_was_not_run_its_section_is_missing(metrics: Path) -> None:
    audited.epochs().head(0).to_csv(metrics / "audit/epochs.csv", index=False)
    make(metrics, metrics.parent / "report.html")
    page = (metrics.parent / "report.html").read_text(encoding="utf-8")
    assert re.findall('<section id="([^"]+)"', page) == [
        *("verdicts", "ends", "mnist-networks", "failure", "ladder")
    ]


@pytest.mark.parametrize(
    ("table", "content", "message"),
    [
        (
            "claims.csv",
            "",
            "{path} is damaged (it is empty): recreate it with: make audit",
        ),
        (
            "audit/epochs.csv",
            "dataset,recipe,learning_rate,seed,epoch,train_loss,feature_sparsity\n",
            "{path} is damaged (it lacks the columns effective_rank, test_accuracy): "
            "recreate it with: make audit",
        ),
        (
            "audit/networks.csv",
            "dataset,recipe,learning_rate,seed,outcome,lost_how,test_accuracy\n"
            "mnist,core,0.1,1,tired,,0.9\n",
            "{path} is damaged (outcome is not one of trained, undertrained, lost): "
            "recreate it with: make audit",
        ),
    ],
)
def test_a_damaged_table_of_the_audit_is_named_with_its_remedy(
    metrics: Path, table: str, content: str, message: str
) -> None:
    (metrics / table).write_text(content, encoding="utf-8")
    with pytest.raises(UserError) as error:
        make(metrics, metrics.parent / "report.html")
    assert str(error.value) == message.format(path=metrics / table)


def test_a_claim_that_is_there_twice_is_named(metrics: Path) -> None:
    path = metrics / "claims.csv"
    text = path.read_text(encoding="utf-8")
    path.write_text(text + text.splitlines()[1] + "\n", encoding="utf-8")
    with pytest.raises(UserError) as error:
        make(metrics, metrics.parent / "report.html")
    told = "it holds a row twice"
    assert str(error.value) == f"{path} is damaged ({told}): recreate it with: make audit"


def test_a_folder_of_tables_that_cannot_be_read_is_named(closed: Path) -> None:
    with pytest.raises(UserError) as error:
        read_audit(closed)
    path = closed / "claims.csv"
    assert str(error.value) == (
        f"{path} is damaged ([Errno 13] Permission denied: '{path}'): recreate it with: make audit"
    )


def test_the_page_of_dvc_plots_is_the_one_that_its_tool_writes() -> None:
    committed = (PROJECT / ".dvc/plots.html").read_text(encoding="utf-8")
    assert committed == plots_page.page(), "run: python -m tools.plots_page"
