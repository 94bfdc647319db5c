"""Building and caching the stand-in for a GPU's libraries, with a fake build script."""

import shutil
import subprocess
import sys

import cupy_stand_in
import pytest

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("g++") is None, reason="needs Linux and a compiler"
)


@pytest.fixture
def source(tmp_path, monkeypatch):
    folder = tmp_path / "hipemu"
    (folder / "python").mkdir(parents=True)
    (folder / "python" / "hipemu.py").write_text("")
    (folder / "build.sh").write_text(f"mkdir $1; echo built >> {tmp_path}/log; touch $1/library")
    monkeypatch.setenv("DLSKILLS_HIPEMU", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def test_the_stand_in_is_built_once(source, tmp_path):
    first, second = cupy_stand_in.build(), cupy_stand_in.build()

    assert first == second
    assert sorted(file.name for file in first.iterdir()) == ["library", "python"]
    assert (tmp_path / "log").read_text() == "built\n"


def test_changed_sources_are_built_again(source):
    first = cupy_stand_in.build()
    (source / "python" / "hipemu.py").write_text("# another version")

    assert cupy_stand_in.build() != first


def test_a_failed_build_leaves_no_files(source, tmp_path):
    (source / "build.sh").write_text("mkdir $1; touch $1/half; exit 1")

    with pytest.raises(subprocess.CalledProcessError):
        cupy_stand_in.build()

    assert list((tmp_path / "cache" / "dlskills-tests").iterdir()) == []


def test_a_missing_stand_in_gives_the_reason(tmp_path, monkeypatch):
    monkeypatch.setenv("DLSKILLS_HIPEMU", str(tmp_path))

    assert "Set DLSKILLS_HIPEMU to its folder" in cupy_stand_in.obstacle()
