"""Where a study is kept: a file, or a database that several machines share."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_PULSE = 10  # seconds from one heartbeat of a running trial to the next
_TRIES = 6  # to open a file before its error is believed
_IN_MEMORY = ("sqlite://", "sqlite:///:memory:")


def url_of(storage: str | Path | None) -> str | None:
    """The URL of a storage, a file's for a name; None for one in memory."""
    if storage is None or str(storage) in _IN_MEMORY:
        return None
    if "://" in str(storage):
        return str(storage)
    path = Path(storage).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{path.as_posix()}"


def open_storage(url: str) -> Any:
    """Optuna's storage at a URL, its tables made if there are none.

    Raises
    ------
    ValueError
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
        raise ValueError(
            f"the storage {_shown(url)!r} can't be opened: {str(error).splitlines()[0]}; give the "
            "name of a file that is a study's or not there yet, or a database's URL, such as "
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
