"""The command that installs an extra fits the way in which the package was installed."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

import dlskills
from dlskills.installation import install_command

FOLDER = Path(dlskills.__file__).parent


@pytest.fixture
def command(tmp_path):
    """Prints the command of a copy of the module, installed as direct_url.json says."""

    def run(direct_url=None, path=Path(sys.executable).parent, python=sys.executable):
        package, metadata = tmp_path / "dlskills", tmp_path / "dlskills-0.1.0.dist-info"
        for folder in (package, metadata):
            folder.mkdir()
        (package / "__init__.py").touch()
        shutil.copy(FOLDER / "installation.py", package)
        (metadata / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: dlskills\nVersion: 0.1.0\n"
        )
        if direct_url is not None:
            (metadata / "direct_url.json").write_text(direct_url)
        code = "from dlskills.installation import install_command; print(install_command('gpu'))"
        done = subprocess.run(
            [python, "-c", code],
            cwd=tmp_path,  # which -c puts first on the path
            env=os.environ | {"PYTHONPATH": str(tmp_path), "PATH": str(path)},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.rstrip("\n").partition(" install ")[::2]

    return run


def test_an_installation_from_an_index_names_the_package(command):
    assert command()[1] == '"dlskills[gpu]"'


def test_a_metadata_file_that_is_broken_counts_as_an_index(command):
    assert command("{")[1] == '"dlskills[gpu]"'


def test_an_installation_from_a_folder_names_the_folder(command, tmp_path):
    folder = tmp_path / "my clone"
    requirement = command(json.dumps({"url": folder.as_uri(), "dir_info": {}}))[1]
    assert requirement == f'"{folder}[gpu]"'


def test_an_installation_from_a_wheel_names_its_url(command):
    url = "file:///tmp/dlskills-0.1.0-py3-none-any.whl"
    assert command(json.dumps({"url": url, "archive_info": {}}))[1] == f'"dlskills[gpu] @ {url}"'


def test_an_installation_from_a_repository_names_its_commit(command):
    origin = {
        "url": "https://example.org/dlskills.git",
        "vcs_info": {"vcs": "git", "commit_id": "0123abc"},
    }
    expected = '"dlskills[gpu] @ git+https://example.org/dlskills.git@0123abc"'
    assert command(json.dumps(origin))[1] == expected


@pytest.mark.skipif(
    not (FOLDER.parent / "pyproject.toml").exists(), reason="the package was installed elsewhere"
)
def test_a_clone_names_itself():
    assert install_command("jit").endswith(f' install -e "{FOLDER.parent}[jit]"')


def test_pip_is_named_with_its_python_if_the_shell_would_find_another(command, tmp_path):
    assert command(path=tmp_path)[0].replace('"', "") == f"{sys.executable} -m pip"


@pytest.mark.slow  # creates an environment
@pytest.mark.parametrize("has_uv", [True, False])
def test_in_an_environment_without_pip_uv_installs(command, tmp_path, has_uv):
    venv.create(tmp_path / "venv", with_pip=False)
    scripts = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")
    program = tmp_path / "programs" / ("uv.exe" if os.name == "nt" else "uv")
    program.parent.mkdir()
    if has_uv:
        program.touch(mode=0o755)
    python = scripts / Path(sys.executable).name
    begin, requirement = command(path=program.parent, python=str(python))
    if has_uv:
        assert (begin, requirement) == ("uv pip", f'--python {python} "dlskills[gpu]"')
    else:
        assert (begin, requirement) == (f"{python} -m pip", '"dlskills[gpu]"')


@pytest.mark.skipif(
    shutil.which("pip", path=str(Path(sys.executable).parent)) is None,
    reason="this environment has no pip",
)
def test_pip_is_enough_if_the_shell_finds_it(command):
    assert command()[0] == "pip"


def test_every_extra_that_errors_and_documents_name_exists():
    root = Path(__file__).parents[1]
    known = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    extras = set(known["project"]["optional-dependencies"])
    named = set()
    for path in [*FOLDER.rglob("*.py"), *root.glob("*.md"), *(root / "docs").rglob("*.md")]:
        text = path.read_text(encoding="utf-8")
        named |= set(
            re.findall(r"install_command\(\"([\w-]+)\"\)|install_command\('([\w-]+)'\)", text)
        )
        named |= {(group, "") for group in re.findall(r"dlskills\[([\w-]+)\]", text)}
    names = {one or other for one, other in named}
    assert {"gpu", "jit", "mpi", "tune"} <= names
    assert names <= extras
