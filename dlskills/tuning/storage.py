"""Storage of a study: a file, or a database shared by several machines."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dlskills.files import check_folder, expanded
from dlskills.tuning.errors import StudyError

_PULSE = 10  # seconds between heartbeats of a running trial
_TRIES = 6  # attempts to open a file that another process may be creating
_IN_MEMORY = ("sqlite://", "sqlite:///:memory:")


def url_of(storage: str | Path | None) -> str | None:
    """Return the URL of a storage given by URL or file name; None for one in memory."""
    if storage is None or str(storage) in _IN_MEMORY:
        return None
    if "://" in str(storage):
        return str(storage)
    path = expanded(storage, "the storage").absolute()
    check_folder(path.parent, "--storage")
    return _url_of_file(path)


def _url_of_file(path: Path) -> str:
    """Return the URL of an SQLite file; its name may contain characters reserved in URLs."""
    from sqlalchemy.engine import URL, make_url

    made = URL.create("sqlite", database=path.as_posix())
    url = str(made.render_as_string(hide_password=False))
    url = url.replace("{", "{{").replace("}", "}}")  # Optuna applies str.format
    if make_url(url.format()).database != path.as_posix():  # SQLAlchemy < 2.1 does not quote
        raise StudyError(
            f"the storage {str(path)!r} has characters that SQLAlchemy can't handle. Choose "
            "another name, or install SQLAlchemy 2.1"
        )
    return url


def open_storage(url: str) -> Any:
    """Open Optuna's storage at a URL, creating its tables if necessary.

    Raises
    ------
    StudyError
        The storage can't be opened; the message says why.
    """
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import SQLAlchemyError

    # Heartbeats tell other processes that a trial is still running.
    opened = functools.partial(RDBStorage, url, heartbeat_interval=_PULSE, grace_period=6 * _PULSE)
    try:
        if not url.startswith("sqlite"):
            return opened()
        # Wait for writes of other processes instead of failing.
        storage = _retried(lambda: opened({"connect_args": {"timeout": 60}}))
    except (
        SQLAlchemyError,
        ImportError,
        RuntimeError,
    ) as error:  # RuntimeError: tables of another version
        raise StudyError(
            f"the storage {_shown(url)!r} can't be opened: {str(error).splitlines()[0]}. Pass the "
            "name of a file that contains a study or does not exist, or the URL of a database, "
            "such as 'mysql://user:password@host/name', whose driver must be installed"
        ) from error
    _lock_before_reading(storage.engine)
    return storage


def _shown(url: str) -> str:
    """Return the URL with its password hidden."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return str(make_url(url).render_as_string(hide_password=True))
    except ArgumentError:
        return url


def _retried(opened: Callable[[], Any]) -> Any:
    """Open a storage, retrying while another process may be creating its tables."""
    from sqlalchemy.exc import IntegrityError, OperationalError

    for _ in range(_TRIES - 1):
        with contextlib.suppress(IntegrityError, OperationalError):
            return opened()
        time.sleep(0.5)
    return opened()


def _lock_before_reading(engine: Any) -> None:
    """Make every SQLite transaction acquire the write lock when it begins.

    Optuna locks the trial it reads (SELECT ... FOR UPDATE), which SQLite does not support: two
    processes could start the same waiting trial.
    """
    from sqlalchemy import event

    def begin_explicitly(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver would begin only at the first change

    event.listen(engine, "connect", begin_explicitly)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    engine.dispose()  # close connections opened before
