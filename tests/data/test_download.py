"""Download of MNIST into the cache: verified files or none.

No test uses the network: mirrors are local servers, and the bundled sample replaces the full set.
"""

import contextlib
import functools
import gzip
import http.server
import io
import os
import re
import shutil
import sys
import threading
import warnings
from pathlib import Path

import pooch
import pytest
from typer.testing import CliRunner

from dlskills import cli
from dlskills.data import download, load_mnist, mnist_files
from dlskills.data.idx import DataError

SAMPLE = mnist_files.SAMPLE_FOLDER
NAMES = sorted(path.name for path in SAMPLE.glob("*.gz"))
TRAIN_LABELS = "train-labels-idx1-ubyte.gz"
MNIST = ([5, 0, 4], [7, 2, 1])


def labels_of(loaded):
    (_, t_train), (_, t_test) = loaded
    return t_train[:3].tolist(), t_test[:3].tolist()


def with_another_label(packed):
    content = bytearray(gzip.decompress(packed))
    content[-1] ^= 1
    return gzip.compress(content)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the sample, except for files whose fault the server was given."""

    def do_GET(self):
        name = self.path.lstrip("/")
        self.server.requests.append(name)
        fault = self.server.faults.get(name)
        if fault is None:
            return super().do_GET()
        return fault(self, (SAMPLE / name).read_bytes())

    def answer(self, content, length=None):
        self.send_response(200)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def breaks(handler, content):
    handler.answer(content[: len(content) // 2], length=len(content))


def breaks_without_a_length(handler, content):
    handler.answer(content[: len(content) // 2])


def has_another_label(handler, content):
    handler.answer(with_another_label(content))


def is_endless(handler, _):
    with contextlib.suppress(ConnectionError):  # the client hangs up
        handler.answer(bytes(download.LIMIT + 1))


def is_an_error_page(handler, _):
    handler.answer(b"<!DOCTYPE html><p>Try again later.</p>")


def is_forbidden(handler, _):
    handler.send_error(403)


@pytest.fixture
def mirror():
    """Start local servers: mirror(file_name=fault, ...)."""
    servers = []

    def start(**faults):
        handler = functools.partial(Handler, directory=str(SAMPLE))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.faults = {f"{name.replace('_', '-')}-ubyte.gz": f for name, f in faults.items()}
        server.requests = []
        server.url = f"http://127.0.0.1:{server.server_port}/"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """Use a temporary cache folder, with the sample in place of the full set."""
    monkeypatch.setattr(mnist_files, "FULL", mnist_files.SAMPLE)
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / project)
    monkeypatch.setattr(download, "PAUSE", 0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "dlskills" / "mnist"


@pytest.fixture
def use(monkeypatch):
    return lambda *mirrors: monkeypatch.setattr(
        download, "MIRRORS", tuple(mirror.url for mirror in mirrors)
    )


def names_in(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_files_are_downloaded_once_and_stored_unchanged(cache, mirror, use):
    server = mirror()
    use(server)
    assert labels_of(load_mnist()) == MNIST
    assert names_in(cache) == NAMES
    assert all((cache / name).read_bytes() == (SAMPLE / name).read_bytes() for name in NAMES)
    assert labels_of(load_mnist()) == MNIST
    assert sorted(server.requests) == NAMES


FAULTS = [breaks, breaks_without_a_length, has_another_label, is_an_error_page, is_forbidden]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failing_mirror_is_replaced_by_the_next(cache, mirror, use, fault):
    bad, good = mirror(train_labels_idx1=fault), mirror()
    use(bad, good)
    assert labels_of(load_mnist()) == MNIST
    assert names_in(cache) == NAMES
    assert good.requests == [TRAIN_LABELS]


def test_a_mirror_that_sends_too_much_does_not_fill_the_memory(cache, mirror, use, monkeypatch):
    monkeypatch.setattr(download, "LIMIT", 3_000_000)
    bad, good = mirror(train_labels_idx1=is_endless), mirror()
    use(bad)
    with pytest.raises(DataError, match="the mirror sent more than 3,000,000 bytes"):
        load_mnist()
    use(bad, good)
    assert labels_of(load_mnist()) == MNIST


def test_a_mirror_is_tried_again(cache, mirror, use):
    def breaks_once(handler, content):
        handler.server.faults.clear()
        breaks(handler, content)

    server = mirror(train_labels_idx1=breaks_once)
    use(server)
    assert labels_of(load_mnist()) == MNIST
    assert server.requests.count(TRAIN_LABELS) == 2


FINDINGS = {
    breaks: "IncompleteRead",
    breaks_without_a_length: "is a truncated or damaged gzip file",
    has_another_label: "must have the SHA-256",
    is_an_error_page: "must start with .*, the magic number .* got b'<!DO'",
    is_forbidden: "403 Client Error",
}


@pytest.mark.parametrize(("fault", "finding"), FINDINGS.items())
def test_a_file_that_no_mirror_serves_is_named_and_not_stored(cache, mirror, use, fault, finding):
    use(mirror(train_labels_idx1=fault), mirror(train_labels_idx1=fault))
    pattern = rf"(?s)^{TRAIN_LABELS} can't be downloaded.*127.*{finding}.*127.*{finding}"
    with pytest.raises(DataError, match=pattern):
        load_mnist()
    assert names_in(cache) == ["train-images-idx3-ubyte.gz"]  # the file before it, complete
    use(mirror())
    assert labels_of(load_mnist()) == MNIST
    assert names_in(cache) == NAMES


def test_without_data_or_network_one_error_lists_all_remedies(cache, mirror, use):
    gone = mirror()
    gone.shutdown()
    gone.server_close()
    use(gone)
    with pytest.raises(DataError) as caught:
        load_mnist()
    for needed in (*NAMES, gone.url, "data_dir=", "DLSKILLS_DATA_DIR", 'subset="sample"'):
        assert needed in str(caught.value)
    assert str(caught.value).count(f"{gone.url}train-images") == 1  # tried twice, listed once
    assert names_in(cache) == []


def test_the_manual_instructions_name_the_mirrors_with_https():
    assert all(mirror in download.by_hand() for mirror in download.MIRRORS)
    assert all(re.fullmatch("https://.*/mnist/", mirror) for mirror in download.MIRRORS)


def test_a_damaged_file_in_the_cache_is_replaced_with_a_warning(cache, mirror, use):
    shutil.copytree(SAMPLE, cache)
    path = cache / TRAIN_LABELS
    path.write_bytes(path.read_bytes()[:-100])
    server = mirror()
    use(server)
    damage = f"{re.escape(str(path))} is a truncated or damaged .* It will be downloaded again"
    with pytest.warns(UserWarning, match=damage) as warned:
        assert labels_of(load_mnist()) == MNIST
    assert [warning.filename for warning in warned] == [__file__]
    assert server.requests == [TRAIN_LABELS]
    assert path.read_bytes() == (SAMPLE / TRAIN_LABELS).read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_mnist()


def test_a_damaged_file_that_cannot_be_replaced_is_not_used(cache, mirror, use):
    shutil.copytree(SAMPLE, cache)
    path = cache / TRAIN_LABELS
    path.write_bytes(with_another_label(path.read_bytes()))
    use(mirror(train_labels_idx1=is_forbidden))
    with (
        pytest.warns(UserWarning, match="must have the SHA-256"),
        pytest.raises(DataError, match=f"{TRAIN_LABELS} can't be downloaded"),
    ):
        load_mnist()


def test_an_unwritable_cache_gives_a_warning_that_names_the_file(cache, mirror, use):
    cache.parent.write_text("a file where the folder should be")
    use(mirror())
    pattern = r"was downloaded but can't be written .*DLSKILLS_DATA"
    with pytest.warns(UserWarning, match=pattern) as warned:
        assert labels_of(load_mnist()) == MNIST
    assert {warning.filename for warning in warned} == {__file__}
    named = [str(warning.message).split(" was downloaded")[0] for warning in warned]
    assert sorted(named) == [str(cache / name) for name in NAMES]


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_download_is_used_even_if_the_disk_is_full(cache, mirror, use, monkeypatch, fails):
    def full(*_):
        raise OSError(28, "No space left on device")

    server = mirror()
    use(server)
    target = os if fails == "fsync" else Path
    monkeypatch.setattr(target, fails, full)
    with pytest.warns(
        UserWarning, match="No space left on device.*used now and will be downloaded again"
    ):
        assert labels_of(load_mnist()) == MNIST
    assert sorted(server.requests) == NAMES  # once each
    assert names_in(cache) == []


@pytest.mark.skipif(os.name != "posix", reason="needs a umask")
def test_cached_files_have_the_permissions_of_the_umask(cache, mirror, use):
    use(mirror())
    before = os.umask(0o022)
    try:
        load_mnist()
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in cache.iterdir()} == {0o644}


@pytest.fixture
def homeless(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "XDG_CACHE_HOME", "DLSKILLS_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)


@pytest.mark.skipif(sys.platform != "linux", reason="tests the cache folder of Linux")
def test_a_missing_home_folder_gives_an_error_with_a_remedy(homeless, tmp_path, monkeypatch):
    with pytest.raises(
        DataError, match="no home folder was found to store MNIST in. Set HOME, or set XDG"
    ):
        load_mnist()
    with pytest.raises(DataError, match="no home folder"):
        mnist_files.find_full()
    for subset in ({"data_dir": "~/mnist"}, {}):
        monkeypatch.setenv("DLSKILLS_DATA_DIR", "~/other")
        with pytest.raises(OSError, match="starts with a home folder that can't be found"):
            load_mnist(**subset)
    assert labels_of(load_mnist(subset="sample")) == MNIST
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="tests the cache folder of Linux")
def test_info_works_without_a_home_folder(homeless):
    result = CliRunner(env={"COLUMNS": "300"}).invoke(cli.app, ["info"])
    assert result.exit_code == 0
    assert "not available: no home folder was found to store MNIST in" in result.output


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_a_progress_bar(cache, mirror, use, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "stderr", Terminal())
    use(mirror())
    load_mnist()
    shown = sys.stderr.getvalue()
    assert all(f"MNIST: {name}" in shown for name in NAMES)
    assert "1.6/1.6 MB" in shown


def test_without_a_terminal_nothing_is_printed(cache, mirror, use, capsys):
    use(mirror())
    load_mnist()
    assert capsys.readouterr() == ("", "")
