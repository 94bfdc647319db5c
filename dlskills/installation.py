"""Commands that add an optional extra to this installation of dlskills."""

from __future__ import annotations

import functools
import shutil
import sys
from pathlib import Path


def install_command(extra: str) -> str:
    """Return the shell command that installs an optional extra for the running package.

    Until the package is on an index, ``pip install "dlskills[gpu]"`` fails. The command therefore
    names the source of this installation.

    Parameters
    ----------
    extra : str
        One of the extras in pyproject.toml, such as ``"gpu"``.

    Returns
    -------
    str
        ``pip install -e "/path/of/the/clone[gpu]"`` in a clone,
        ``pip install "/path/of/the/folder[gpu]"`` if the package was installed from a folder,
        ``pip install "dlskills[gpu] @ URL"`` if it came from a URL or a repository, and otherwise
        ``pip install "dlskills[gpu]"``. If ``pip`` on the search path belongs to another Python,
        the command begins with ``/path/of/python -m pip install`` instead, and in an environment
        of uv, which has no pip, with ``uv pip install --python /path/of/python``.
    """
    return f"{_install()} {_requirement(extra)}"


def _install() -> str:
    # imported here, as only errors need it
    import importlib.util

    found = shutil.which("pip")
    # not resolved: in a virtual environment, python is a link to the interpreter outside
    if found is not None and Path(found).parent == Path(sys.executable).parent:
        return "pip install"
    python = f'"{sys.executable}"' if " " in sys.executable else sys.executable
    if importlib.util.find_spec("pip") is None and shutil.which("uv") is not None:
        return f"uv pip install --python {python}"
    return f"{python} -m pip install"


def _requirement(extra: str) -> str:
    # The code that runs decides, not the metadata: with PYTHONPATH it need not be what pip knows.
    root = Path(__file__).resolve().parents[1]
    if _is_clone(root):
        return f'-e "{root}[{extra}]"'
    url, is_folder = _origin()
    if url is None:
        return f'"dlskills[{extra}]"'
    return f'"{url}[{extra}]"' if is_folder else f'"dlskills[{extra}] @ {url}"'


def _is_clone(root: Path) -> bool:
    try:
        return 'name = "dlskills"' in (root / "pyproject.toml").read_text(encoding="utf-8")
    except OSError:
        return False


@functools.cache
def _origin() -> tuple[str | None, bool]:
    """Return what pip installed the package from, if not from an index; and if it is a folder."""
    # imported here, as only errors need it
    import importlib.metadata
    import json
    from urllib.parse import unquote, urlsplit
    from urllib.request import url2pathname

    try:
        recorded = importlib.metadata.distribution("dlskills").read_text("direct_url.json")
        origin = json.loads(recorded or "{}")
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None, False
    url = origin.get("url")
    if url is None:
        return None, False
    if "dir_info" in origin:
        return url2pathname(unquote(urlsplit(url).path)), True
    if version_control := origin.get("vcs_info"):
        return f"{version_control['vcs']}+{url}@{version_control['commit_id']}", False
    return url, False
