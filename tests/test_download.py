"""Archives: fetched whole or refused, from a folder or over HTTP."""

import functools
import gzip
import hashlib
import http.server
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from sklearn.datasets import load_digits
from torchvision.datasets import MNIST

from stages.archives import Archives, MirrorError, copy_archives, download, fetch_archives
from stages.common.datasets import Published, load
from stages.common.errors import UserError
from stages.download import main

PROJECT = Path(__file__).parent.parent
NAMES = [name for name, _ in MNIST.resources]


class Mirror(NamedTuple):
    """A small dataset in MNIST's format, and where its archives lie."""

    archives: Archives
    folder: Path
    arrays: Published

    def archive(self, name: str) -> Path:
        return self.folder / "MNIST" / name


def idx(values: np.ndarray) -> bytes:
    """Encode an array of bytes in the archives' format, IDX."""
    header = bytes([0, 0, 8, values.ndim])
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return gzip.compress(header + sizes + values.tobytes(), mtime=0)


@pytest.fixture
def small(tmp_path: Path) -> Mirror:
    """Write a small dataset, pinned by its own checksums, into a mirror folder."""
    generator = np.random.default_rng(0)
    shapes = ((30, 28, 28), (30,), (20, 28, 28), (20,))
    arrays = [generator.integers(0, 10, shape, dtype=np.uint8) for shape in shapes]
    folder = tmp_path / "mirror"
    (folder / "MNIST").mkdir(parents=True)
    resources, sizes = [], []
    for name, array in zip(NAMES, arrays, strict=True):
        content = idx(array)
        (folder / "MNIST" / name).write_bytes(content)
        resources.append((name, hashlib.md5(content).hexdigest()))
        sizes.append(len(content))
    pinned = type("MNIST", (MNIST,), {"resources": resources, "mirrors": ["http://127.0.0.1:9/"]})
    return Mirror(Archives(pinned, tuple(sizes)), folder, Published(*arrays))


@pytest.fixture
def address(small: Mirror) -> Iterator[str]:
    """Serve the small mirror over HTTP."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(small.folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def same(found: Published, expected: Published) -> bool:
    """Compare values and types."""
    pairs = zip(vars(found).values(), vars(expected).values(), strict=True)
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


def test_a_folder_gives_the_arrays_of_its_archives(small: Mirror, scratch: Path) -> None:
    assert same(fetch_archives(small.archives, str(small.folder), scratch), small.arrays)


@pytest.mark.parametrize("end", ["", "/"])
def test_an_address_gives_the_arrays_of_its_archives(
    small: Mirror, address: str, scratch: Path, end: str
) -> None:
    assert same(fetch_archives(small.archives, address + end, scratch), small.arrays)


def asking(small: Mirror, *mirrors: str) -> Archives:
    """Make the small dataset with these addresses of its own."""
    source = type("MNIST", (small.archives.source,), {"mirrors": mirrors})
    return small.archives._replace(source=source)


def test_without_a_mirror_the_dataset_s_own_addresses_are_asked(
    small: Mirror, address: str, scratch: Path
) -> None:
    assert same(fetch_archives(asking(small, f"{address}/MNIST/"), "", scratch), small.arrays)


def test_a_mirror_folder_may_begin_with_the_home_folder(
    small: Mirror, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(small.folder.parent))
    assert same(fetch_archives(small.archives, "~/mirror", scratch), small.arrays)


def cut_short(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip_bytes(content: bytes) -> bytes:
    return content[:-40] + bytes(255 - byte for byte in content[-40:])


def wrong_magic(content: bytes) -> bytes:
    return gzip.compress(b"\0\0\1\3" + gzip.decompress(content)[4:], mtime=0)


@pytest.mark.parametrize("damage", [cut_short, flip_bytes, wrong_magic])
@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_archive_in_a_folder_is_refused_by_name(
    small: Mirror, scratch: Path, damage: Callable[[bytes], bytes], name: str
) -> None:
    archive = small.archive(name)
    expected = dict(small.archives.source.resources)[name]
    archive.write_bytes(damage(archive.read_bytes()))
    found = hashlib.md5(archive.read_bytes()).hexdigest()
    told = (
        f"{archive} is damaged or another file (MD5 {found} instead of {expected}): "
        f"replace it, or unset DATASETS_MIRROR to download it"
    )
    with pytest.raises(UserError, match=f"^{re.escape(told)}$"):
        fetch_archives(small.archives, str(small.folder), scratch)


def cannot_be_downloaded(*reasons: str, dataset: str = "MNIST") -> str:
    return (
        f"{dataset} cannot be downloaded. {'. '.join(reasons)}. Set DATASETS_MIRROR to a URL or a "
        f"folder that holds {dataset}/{NAMES[0]}, or see the pipeline run without any download: "
        f"make demo"
    )


@pytest.mark.parametrize("damage", [cut_short, flip_bytes, wrong_magic])
def test_a_damaged_archive_at_an_address_is_refused_by_name(
    small: Mirror, address: str, scratch: Path, damage: Callable[[bytes], bytes]
) -> None:
    archive = small.archive(NAMES[2])
    archive.write_bytes(damage(archive.read_bytes()))
    found = hashlib.md5(archive.read_bytes()).hexdigest()
    expected = dict(small.archives.source.resources)[NAMES[2]]
    told = cannot_be_downloaded(
        f"{address}/MNIST/{NAMES[2]}: damaged or another file (MD5 {found} instead of {expected})"
    )
    with pytest.raises(UserError, match=f"^{re.escape(told)}$"):
        fetch_archives(small.archives, address, scratch)


def test_the_name_and_password_of_an_address_are_not_repeated(
    small: Mirror, address: str, scratch: Path
) -> None:
    small.archive(NAMES[0]).unlink()
    secret = address.replace("//", "//reader:secret@") + "/?token=secret"
    told = refusal(small, secret, scratch)
    assert told.startswith(f"MNIST cannot be downloaded. {address}/: ")
    assert "secret" not in told


@pytest.mark.parametrize(
    ("mirror", "shown"),
    [
        ("ftp://reader:secret@host/x", "ftp://host/x"),
        ("reader:secret@host", "host"),
        ("//reader:secret@host", "//host"),
    ],
)
def test_a_password_in_what_is_no_address_is_not_repeated(
    small: Mirror, scratch: Path, mirror: str, shown: str
) -> None:
    assert refusal(small, mirror, scratch) == neither(shown)


def test_an_archive_that_a_folder_lacks_is_refused_by_name(small: Mirror, scratch: Path) -> None:
    archive = small.archive(NAMES[1])
    archive.unlink()
    told = (
        f"{archive} does not exist, though DATASETS_MIRROR is {small.folder}: "
        f"put the archive there, or unset DATASETS_MIRROR to download it"
    )
    with pytest.raises(UserError, match=f"^{re.escape(told)}$"):
        fetch_archives(small.archives, str(small.folder), scratch)


def test_a_home_folder_of_nobody_is_refused(small: Mirror, scratch: Path) -> None:
    assert refusal(small, "~nobody at all/mirror", scratch) == neither("~nobody at all/mirror")


def test_a_mirror_that_is_a_file_is_refused(small: Mirror, scratch: Path) -> None:
    mirror = str(small.archive(NAMES[0]))
    assert refusal(small, mirror, scratch) == neither(mirror)


def refusal(small: Mirror, mirror: str, scratch: Path) -> str:
    with pytest.raises(UserError) as refused:
        fetch_archives(small.archives, mirror, scratch)
    return str(refused.value)


def neither(mirror: str) -> str:
    return (
        f"DATASETS_MIRROR is {mirror}, which is neither a URL nor a folder that can be read: "
        f"name one that holds MNIST/{NAMES[0]}, or unset it to download"
    )


STRANGE = "~ $HOME %41 ?#&;*\"'\\ \n\t\x1b[31m é 😀 \udcff"


def test_a_mirror_folder_may_have_any_name(small: Mirror, scratch: Path) -> None:
    strange = small.folder.rename(small.folder.with_name(STRANGE))
    assert same(fetch_archives(small.archives, str(strange), scratch), small.arrays)


def test_a_strange_folder_is_refused_on_one_line(small: Mirror, scratch: Path) -> None:
    strange = small.folder.rename(small.folder.with_name(STRANGE))
    (strange / "MNIST" / NAMES[0]).unlink()
    assert refusal(small, str(strange), scratch) == (
        f"{str(strange / 'MNIST' / NAMES[0])!r} does not exist, though DATASETS_MIRROR is "
        f"{str(strange)!r}: put the archive there, or unset DATASETS_MIRROR to download it"
    )


def test_a_mirror_folder_that_cannot_be_read_is_refused(
    small: Mirror, scratch: Path, closed: Path
) -> None:
    with pytest.raises(UserError) as refused:
        copy_archives(small.archives.source, str(closed), scratch)
    assert str(refused.value) == (
        f"{closed}/MNIST/{NAMES[0]} cannot be read (Permission denied): see that you may read it, "
        f"or unset DATASETS_MIRROR to download it"
    )


class Ended(NamedTuple):
    """How a stage ended: its status, the last line that it printed, and the files that it left."""

    status: int
    told: str
    left: list[Path]


def run_process(folder: Path, mirror: str) -> Ended:
    """Run the stage for Fashion-MNIST with a mirror, writing into a folder."""
    ended = subprocess.run(
        [sys.executable, "-m", "stages.download", str(folder), "--dataset", "fashion_mnist"],
        cwd=PROJECT,
        env=os.environ | {"DATASETS_MIRROR": mirror},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert "Traceback" not in ended.stderr
    left = [path for path in folder.rglob("*") if path.is_file()]
    return Ended(ended.returncode, ended.stderr.splitlines()[-1], left)


def test_an_unreachable_mirror_names_the_ways_on_and_leaves_nothing(tmp_path: Path) -> None:
    reason = (
        f"http://127.0.0.1:9/FashionMNIST/{NAMES[0]}: Cannot connect to host 127.0.0.1:9 "
        f"ssl:default [Connect call failed ('127.0.0.1', 9)]"
    )
    told = f"error: {cannot_be_downloaded(reason, dataset='FashionMNIST')}"
    assert run_process(tmp_path, "http://127.0.0.1:9") == Ended(1, told, [])


Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], str]]:
    """Make a function that starts a server, given how it answers, and gives its address."""
    servers = []

    def start(answer: Answer) -> str:
        def until_hung_up(request: BaseHTTPRequestHandler) -> None:
            with suppress(ConnectionError):
                answer(request)

        handler = type("Handler", (BaseHTTPRequestHandler,), {"do_GET": until_hung_up})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def begin(request: BaseHTTPRequestHandler, **headers: str) -> None:
    """Send the first lines of an answer, such as Content_Length."""
    request.send_response(200)
    for name, value in headers.items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()


def say_nothing(request: BaseHTTPRequestHandler) -> None:
    request.connection.recv(1)


def drip(request: BaseHTTPRequestHandler) -> None:
    begin(request)
    while True:
        request.wfile.write(b"x")
        time.sleep(0.1)


def drip_headers(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        request.wfile.write(b"X: x\r\n")
        time.sleep(0.1)


def never_end(request: BaseHTTPRequestHandler) -> None:
    begin(request)
    while True:
        request.wfile.write(bytes(2**16))


def redirect_for_ever(request: BaseHTTPRequestHandler) -> None:
    request.send_response(302)
    request.send_header("Location", f"{request.path}x")
    request.end_headers()


def announce_more(request: BaseHTTPRequestHandler) -> None:
    begin(request, Content_Length="100")
    request.wfile.write(bytes(50))


def refuse(request: BaseHTTPRequestHandler) -> None:
    request.send_error(403, "\x1b[31mNot for you")


REASONS = {
    say_nothing: "less than 512 KiB came in 1 seconds",
    drip: "less than 512 KiB came in 1 seconds",
    drip_headers: "less than 512 KiB came in 1 seconds",
    redirect_for_ever: "redirected 10 times",
    announce_more: "the connection ended before the archive did",
}


@pytest.mark.parametrize("answer", REASONS)
def test_a_mirror_that_does_not_give_an_archive_is_given_up(
    small: Mirror, scratch: Path, serve: Callable[[Answer], str], answer: Answer
) -> None:
    address = serve(answer)
    told = cannot_be_downloaded(f"{address}/MNIST/{NAMES[0]}: {REASONS[answer]}")
    with pytest.raises(UserError, match=f"^{re.escape(told)}$"):
        fetch_archives(small.archives, address, scratch, patience=1)


def test_a_mirror_that_never_ends_is_given_up_within_the_archive_s_size(
    small: Mirror, scratch: Path, serve: Callable[[Answer], str]
) -> None:
    address = serve(never_end)
    size = small.archives.sizes[0]
    told = cannot_be_downloaded(
        f"{address}/MNIST/{NAMES[0]}: more than the archive's {size} bytes came"
    )
    with pytest.raises(UserError, match=f"^{re.escape(told)}$"):
        fetch_archives(small.archives, address, scratch)
    assert sum(path.stat().st_size for path in scratch.rglob("*") if path.is_file()) <= size


def test_the_stage_gives_up_a_mirror_that_never_ends_and_leaves_nothing(
    tmp_path: Path, serve: Callable[[Answer], str]
) -> None:
    address = serve(never_end)
    reason = f"{address}/FashionMNIST/{NAMES[0]}: more than the archive's 26421880 bytes came"
    told = f"error: {cannot_be_downloaded(reason, dataset='FashionMNIST')}"
    assert run_process(tmp_path, address) == Ended(1, told, [])


def test_what_a_mirror_answers_is_told_without_its_control_characters(
    small: Mirror, scratch: Path, serve: Callable[[Answer], str]
) -> None:
    address = serve(refuse)
    reason = f"'{address}/MNIST/{NAMES[0]}: 403 \\x1b[31mNot for you'"
    assert refusal(small, address, scratch) == cannot_be_downloaded(reason)


def test_the_next_address_is_asked_when_one_is_given_up(
    small: Mirror, address: str, scratch: Path, serve: Callable[[Answer], str]
) -> None:
    archives = asking(small, f"{serve(drip)}/", f"{address}/MNIST/")
    assert same(fetch_archives(archives, "", scratch, patience=1), small.arrays)


def test_what_came_from_each_address_is_told(
    small: Mirror, scratch: Path, serve: Callable[[Answer], str]
) -> None:
    first, second = f"{serve(drip)}/", f"{serve(redirect_for_ever)}/"
    told = cannot_be_downloaded(
        f"{first}{NAMES[0]}: {REASONS[drip]}", f"{second}{NAMES[0]}: {REASONS[redirect_for_ever]}"
    )
    with pytest.raises(UserError, match=f"^{re.escape(told)}$"):
        fetch_archives(asking(small, first, second), "", scratch, patience=1)


@pytest.mark.parametrize(
    ("mirror", "reason"),
    [
        ("http://[", f"http://[/MNIST/{NAMES[0]} is not a URL"),
        (
            "http://a..b",
            "its host, or a proxy on the way, has a name that no host can have",
        ),
    ],
)
def test_an_address_that_is_none_is_refused(
    small: Mirror, scratch: Path, mirror: str, reason: str
) -> None:
    told = cannot_be_downloaded(f"{mirror}/MNIST/{NAMES[0]}: {reason}")
    assert refusal(small, mirror, scratch) == told


def test_a_slow_line_gets_an_archive_that_takes_longer_than_the_patience(
    tmp_path: Path, serve: Callable[[Answer], str]
) -> None:
    piece = bytes(2**19)

    def send_slowly(request: BaseHTTPRequestHandler) -> None:
        begin(request)
        for _ in range(4):
            time.sleep(2)
            request.wfile.write(piece)

    content = piece * 4
    target = tmp_path / "archive"
    checksum = hashlib.md5(content).hexdigest()
    download(serve(send_slowly), checksum, len(content), target, patience=6)
    assert target.read_bytes() == content


def test_a_mirror_that_stalls_after_a_quick_beginning_is_given_up(
    tmp_path: Path, serve: Callable[[Answer], str]
) -> None:
    def stall(request: BaseHTTPRequestHandler) -> None:
        begin(request)
        request.wfile.write(bytes(2**20))
        say_nothing(request)

    address = serve(stall)
    with pytest.raises(MirrorError) as told:
        download(address, "", 2**21, tmp_path / "archive", patience=1)
    assert str(told.value) == f"{address}: less than 512 KiB came in 1 seconds"


def test_an_archive_that_a_server_calls_encoded_is_kept_as_it_is(
    small: Mirror, scratch: Path, serve: Callable[[Answer], str]
) -> None:
    def call_it_encoded(request: BaseHTTPRequestHandler) -> None:
        begin(request, Content_Encoding="gzip")
        request.wfile.write(small.archive(Path(request.path).name).read_bytes())

    assert same(fetch_archives(small.archives, serve(call_it_encoded), scratch), small.arrays)


@pytest.fixture
def run_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make a function that runs the stage for a dataset, in tmp_path."""

    def run(dataset: str) -> None:
        monkeypatch.setattr(sys, "argv", ["", str(tmp_path), "--dataset", dataset])
        main()

    return run


def test_an_unknown_dataset_is_refused(run_stage: Callable[[str], None]) -> None:
    told = "dataset cifar is unknown: give one of mnist, fashion_mnist, kmnist, digits"
    with pytest.raises(UserError, match=f"^{told}$"):
        run_stage("cifar")


def enlarged(image: np.ndarray) -> np.ndarray:
    """Interpolate 8×8 values linearly at the middles of 28×28 pixels."""
    middles = (np.arange(28) + 0.5) * 8 / 28 - 0.5
    places = np.meshgrid(middles, middles, indexing="ij")
    return map_coordinates(image, places, order=1, mode="nearest")


def test_digits_are_those_of_scikit_learn_with_every_sixth_for_the_test(
    tmp_path: Path, run_stage: Callable[[str], None]
) -> None:
    run_stage("digits")
    published = load(Published, tmp_path / "raw" / "digits.npz", "download@digits")
    theirs = load_digits()
    test = np.arange(len(theirs.target)) % 6 == 5
    assert np.array_equal(published.train_labels, theirs.target[~test])
    assert np.array_equal(published.test_labels, theirs.target[test])
    for images, originals in (
        (published.train_images, theirs.images[~test]),
        (published.test_images, theirs.images[test]),
    ):
        exact = np.array([enlarged(image) for image in originals]) * 255 / 16
        assert np.abs(images - exact).max() <= 0.5 + 1e-9
