"""The releases that numbers depend on, to tell runs and workers apart."""

from __future__ import annotations

import platform

from dlskills.experiments.environment import releases


def versions() -> list[str]:
    """Return the releases of what computes: another may round or draw differently."""
    libraries = (f"{name} {release}" for name, release in releases().items())
    return [platform.python_version(), platform.machine(), *libraries]
