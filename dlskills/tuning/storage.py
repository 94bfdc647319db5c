"""Storage of a study: a file, or a database shared by several machines."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dlskills.files import check_folder, expanded
from dlskills.installation import install_command
from dlskills.tuning.errors import StudyError

_PULSE = 10  # seconds between heartbeats of a running trial
_TRIES = 6  # attempts to open a file that another process may be creating
# Schemes of URLs, the driver that SQLAlchemy takes for them, and that of the extra `storage`.
_DRIVERS = (
    (("postgresql",), "psycopg2", "psycopg"),
    (("mysql", "mariadb"), "MySQLdb", "pymysql"),
)
_IN_MEMORY = ("sqlite://", "sqlite:///:memory:")


def url_of(storage: str | Path | None) -> str | None:
    """Return the URL of a storage given by URL or file name; None for one in memory."""
    if storage is None or str(storage) in _IN_MEMORY:
        return None
    if "://" in str(storage):
        return _with_driver(str(storage))
    path = expanded(storage, "the storage").absolute()
    check_folder(path.parent, "--storage")
    return _url_of_file(path)


def _with_driver(url: str) -> str:
    """Return the URL with the driver of the extra ``storage``, if it names none."""
    scheme, _, rest = url.partition("://")
    for schemes, default, driver in _DRIVERS:
        if scheme in schemes and find_spec(default) is None and find_spec(driver) is not None:
            return f"{schemes[0]}+{driver}://{rest}"
    return url


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
    options: dict[str, Any] = {"pool_pre_ping": True}  # a server closes idle connections
    if url.startswith("sqlite"):
        options = {"connect_args": {"timeout": 60}}  # wait for other processes' writes
    try:
        storage = _retried(lambda: opened(options))
    except (SQLAlchemyError, ImportError, RuntimeError, ValueError, KeyError) as error:
        # RuntimeError: tables of another version; ValueError, KeyError: no URL
        raise StudyError(_message(url, error)) from None  # the cause may show the password
    if url.startswith("sqlite"):
        _lock_before_reading(storage.engine)
    return storage


@contextlib.contextmanager
def named_errors(url: str | None) -> Iterator[None]:
    """Name the storage in errors while it is used, such as a full disk or a lost connection.

    Raises
    ------
    OSError
        The storage can't be read or written.
    """
    from optuna.exceptions import StorageInternalError

    try:
        yield
    except StorageInternalError as error:
        if url is None:
            raise
        reason = _reason(url, error.__cause__ or error)
        raise OSError(
            f"the storage {_shown(url)!r} can't be read or written: {reason}. Free disk space, or "
            "make the database available; then search again, which continues the study"
        ) from None  # the cause may show the password


def _reason(url: str, error: BaseException) -> str:
    """Return the first line of an error, without passwords."""
    reason = str(error).partition("\n")[0] or type(error).__name__
    for secret in _secrets(url):
        reason = reason.replace(secret, "***")
    return reason


def _message(url: str, error: Exception) -> str:
    """Return why a storage can't be opened, without its password."""
    shown = _shown(url)
    if isinstance(error, ValueError | KeyError) or shown is None:
        return (
            "the storage must be a URL such as 'postgresql://user:password@host/name', got "
            f"{url.partition('://')[0]}://***. Write special characters of the password as in "
            "%40, and {{ and }} for braces"
        )
    message = (
        f"the storage {shown!r} can't be opened: {_reason(url, error)}. Pass the name of a file "
        "that contains a study or does not exist, or the URL of a database, such as "
        "'postgresql://user:password@host/name', whose driver must be installed"
    )
    if isinstance(error, ImportError):
        message += f"; those of PostgreSQL, MySQL and MariaDB: {install_command('storage')}"
    return message


_PASSWORDS = ("password", "passwd", "passfile", "sslpassword")  # parameters of a URL's query


def _secrets(url: str) -> list[str]:
    found = _parsed(url)
    if found is None:
        return []
    values = [found.password, *(found.query.get(name) for name in _PASSWORDS)]
    return [str(value) for value in values if value]


def _shown(url: str) -> str | None:
    """Return the URL with its passwords hidden; None if it can't be parsed and may hold one."""
    found = _parsed(url)
    if found is None:
        return url if "@" not in url and "=" not in url else None
    hidden = {name: "***" for name in _PASSWORDS if name in found.query}
    shown = found.update_query_dict(hidden).render_as_string(hide_password=True)
    return str(shown)


def _parsed(url: str) -> Any:
    """Return SQLAlchemy's URL; None if it can't be parsed."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        return None


def _retried(opened: Callable[[], Any]) -> Any:
    """Open a storage, retrying while another process may be creating its tables."""
    from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

    for _ in range(_TRIES - 1):
        with contextlib.suppress(IntegrityError, OperationalError, ProgrammingError):
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
