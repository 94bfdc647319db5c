"""Where a study is kept: a file, or a database that several machines share."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dlskills.files import check_folder, expanded
from dlskills.tuning.errors import StudyError

_PULSE = 10  # seconds from one heartbeat of a running trial to the next
_TRIES = 6  # to open a file before its error is believed
_IN_MEMORY = ("sqlite://", "sqlite:///:memory:")


def url_of(storage: str | Path | None) -> str | None:
    """Return the URL of a storage: that of a file for a name, None for one in memory."""
    if storage is None or str(storage) in _IN_MEMORY:
        return None
    if "://" in str(storage):
        return str(storage)
    path = expanded(storage, "the storage").absolute()
    check_folder(path.parent, "--storage")
    return _url_of_file(path)


def _url_of_file(path: Path) -> str:
    """Return the URL of an SQLite file, whose name may have characters with a meaning in URLs."""
    from sqlalchemy.engine import URL, make_url

    made = URL.create("sqlite", database=path.as_posix())
    url = str(made.render_as_string(hide_password=False))
    url = url.replace("{", "{{").replace("}", "}}")  # Optuna calls str.format with it
    if make_url(url.format()).database != path.as_posix():  # SQLAlchemy before 2.1 quotes nothing
        raise StudyError(
            f"the storage {str(path)!r} has characters that SQLAlchemy can't handle; give another "
            "name, or install SQLAlchemy 2.1"
        )
    return url


def open_storage(url: str) -> Any:
    """Open Optuna's storage at a URL; create its tables if there are none.

    Raises
    ------
    StudyError
        It can't be opened; the message says why.
    """
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import SQLAlchemyError

    # by its heartbeat others see that a trial is still being worked on
    opened = functools.partial(RDBStorage, url, heartbeat_interval=_PULSE, grace_period=6 * _PULSE)
    try:
        if not url.startswith("sqlite"):
            return opened()
        # processes wait for each other's writes rather than fail
        storage = _when_made(lambda: opened({"connect_args": {"timeout": 60}}))
    except (SQLAlchemyError, ImportError, RuntimeError) as error:  # the last: of other versions
        raise StudyError(
            f"the storage {_shown(url)!r} can't be opened: {str(error).splitlines()[0]}; give the "
            "name of a file that holds a study or does not exist, or a database's URL, such as "
            "'mysql://user:password@host/name', for which its driver must be installed"
        ) from error
    _lock_what_is_read(storage.engine)
    return storage


def _shown(url: str) -> str:
    """The URL without the password in it."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return str(make_url(url).render_as_string(hide_password=True))
    except ArgumentError:
        return url


def _when_made(opened: Callable[[], Any]) -> Any:
    """Open a storage whose tables another process may be making at this moment."""
    from sqlalchemy.exc import IntegrityError, OperationalError

    for _ in range(_TRIES - 1):
        with contextlib.suppress(IntegrityError, OperationalError):
            return opened()
        time.sleep(0.5)
    return opened()


def _lock_what_is_read(engine: Any) -> None:
    """Have each transaction of SQLite begin with its lock for writing.

    Optuna locks the trial that it reads in order to change it (SELECT ... FOR UPDATE), which
    SQLite does not know: two processes could take the same waiting trial.
    """
    from sqlalchemy import event

    def leave_it_to_us(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver would begin later, at the first change

    event.listen(engine, "connect", leave_it_to_us)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    engine.dispose()  # connections that were made before
