"""Files are written atomically, and errors name them."""

import errno
import os
import stat
import subprocess
import sys

import pytest

from dlskills import files
from dlskills.experiments import Settings, run, write_results
from dlskills.plotting import new_figure, save_figure

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX")


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("content", ["text: ²\r\n", b"\x00\xff", ""])
def test_a_file_is_written_and_replaced(tmp_path, content):
    path = tmp_path / "new" / "a file.txt"
    for _ in range(2):
        files.write_file(path, content)
        data = content if isinstance(content, bytes) else content.encode()
        assert path.read_bytes() == data
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("fails", ["fsync", "open", "replace"])
def test_a_failure_keeps_the_existing_file_and_names_it(tmp_path, monkeypatch, fails):
    path = tmp_path / "numbers.json"
    path.write_text("earlier")
    if fails == "fsync":
        monkeypatch.setattr(os, "fsync", full_disk)
    else:
        monkeypatch.setattr(f"pathlib.Path.{fails}", full_disk)
    with pytest.raises(OSError, match=r"numbers.json can't be written: No space.*unchanged") as e:
        files.write_file(path, "later")
    assert e.value.errno == errno.ENOSPC
    assert (tmp_path / "numbers.json").stat().st_size == len("earlier")
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["numbers.json"]


def test_an_interruption_keeps_the_existing_file(tmp_path, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    path = tmp_path / "numbers.json"
    path.write_text("earlier")
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.write_file(path, "later")
    assert [p.read_text() for p in tmp_path.iterdir()] == ["earlier"]


def test_the_content_is_synced_before_the_file_is_renamed(tmp_path, monkeypatch):
    path, synced = tmp_path / "a", []
    real = os.fsync

    def fsync(descriptor):
        synced.append(path.exists())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    files.write_file(path, "content")
    assert synced[0] is False


@posix
def test_the_folder_is_synced_after_the_file_is_renamed(tmp_path, monkeypatch):
    path, synced = tmp_path / "a", []
    real = os.fsync

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            synced.append((os.fstat(descriptor).st_ino, path.exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    files.write_file(path, "content")
    assert synced == [(tmp_path.stat().st_ino, True)]


@posix
def test_writing_to_a_symbolic_link_replaces_its_target(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("earlier")
    link.symlink_to(target)
    files.write_file(link, "later")
    assert link.is_symlink()
    assert target.read_text() == "later"


@pytest.mark.slow
@posix
@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077, 0o002])
def test_all_files_have_the_permissions_of_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        records = run(["optimizer-paths"], Settings(verbose=False), cache=tmp_path / "cache")
        write_results(records["optimizer-paths"], tmp_path)
    finally:
        os.umask(before)
    found = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(found) == 8  # three figures as PNG and SVG, the numbers and the cache
    modes = {stat.S_IMODE(path.stat().st_mode) for path in found}
    assert modes == {0o666 & ~umask}


FULL = """
import resource, signal, sys
from pathlib import Path
from dlskills.plotting import new_figure, save_figure
figure, axes = new_figure()
axes.plot(range(9))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))  # acts like a disk that is full after 5 kB
save_figure(figure, Path(sys.argv[1]), "figure")
"""


@posix
def test_a_figure_that_does_not_fit_on_the_disk_keeps_the_existing_one(tmp_path):
    save_figure(new_figure()[0], tmp_path, "figure")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    done = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert f"OSError: {tmp_path / 'figure.png'} can't be written: File too large" in done.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("given", ["~/a b", "~"])
def test_a_leading_tilde_is_expanded(monkeypatch, tmp_path, given):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert files.expanded(given) == tmp_path / given[2:]


@pytest.mark.parametrize("given", ["a/~", "a~", "/tmp", "b/~/c"])
def test_other_paths_are_unchanged(given):
    assert files.expanded(given).as_posix() == given


@posix
def test_a_home_that_cannot_be_found_is_named(monkeypatch):
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    with pytest.raises(OSError, match="--out '~/x' starts with a home folder that can't be found"):
        files.expanded("~/x", "--out")
    with pytest.raises(OSError, match="Set HOME"):
        files.expanded("~nobody-of-this-name/x")
