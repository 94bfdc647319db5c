"""PostgreSQL and MariaDB, started on a local socket in a folder of their own."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

PASSWORD = "s3cret/@:%"  # noqa: S105 - with characters that a URL must escape
QUOTED = "s3cret%2F%40%3A%25"


def program(name):
    """Return the path of a server's program; None if it is not installed."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))  # not in the PATH
    return str(debian[-1]) if debian else shutil.which(name)


def obstacle(server):
    """Return why a server can't be started here, or None if it can."""
    _, programs, package, _ = SERVERS[server]
    missing = [name for name in programs if program(name) is None]
    if missing:
        return f"no {', '.join(missing)}: install {package} (apt-get install {package})"
    return None


def _as(user):
    """Return how to run a program as this user: servers refuse to run as root."""
    if os.geteuid() != 0:
        return {}
    import pwd  # not on Windows

    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


@contextlib.contextmanager
def _server(folder, command, ready, options):
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, **options)
    try:
        deadline = time.monotonic() + 60
        while subprocess.run(ready, capture_output=True, check=False).returncode:
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        yield
    finally:
        # PostgreSQL waits for clients after SIGTERM, and MariaDB ignores SIGINT
        server.send_signal(signal.SIGINT if "postgres" in command[0] else signal.SIGTERM)
        server.wait(60)


@contextlib.contextmanager
def _folder(options):
    """A short name, as that of a socket has 107 characters at most; owned by the server's user."""
    with tempfile.TemporaryDirectory(prefix="db", dir="/tmp") as name:
        if options:
            os.chown(name, options["user"], options["group"])
        yield Path(name)


@contextlib.contextmanager
def postgresql():
    """Yield the URL of an empty database."""
    options = _as("postgres")
    with _folder(options) as folder:
        data, secret = folder / "data", folder / "password"
        secret.write_text(PASSWORD)
        if options:
            os.chown(secret, options["user"], options["group"])
        subprocess.run(
            [program("initdb"), "-D", data, "-U", "me", "-A", "scram-sha-256", "--no-sync",
             "--pwfile", secret], check=True, capture_output=True, cwd=folder, **options,
        )  # fmt: skip
        command = [program("postgres"), "-D", data, "-k", folder, "-h", "", "-c", "fsync=off"]
        ready = [program("pg_isready"), "-h", folder, "-U", "me"]
        with _server(folder, command, ready, options | {"cwd": folder}):
            yield f"postgresql://me:{QUOTED}@/postgres?host={folder}"


@contextlib.contextmanager
def mariadb():
    """Yield the URL of an empty database."""
    options = _as("mysql")
    with _folder(options) as folder:
        data, socket, begin = folder / "data", folder / "s", folder / "begin.sql"
        begin.write_text(
            "CREATE DATABASE studies;\nCREATE USER me IDENTIFIED BY '" + PASSWORD + "';\n"
            "CREATE USER me@localhost IDENTIFIED BY '" + PASSWORD + "';\n"
            "GRANT ALL ON studies.* TO me;\nGRANT ALL ON studies.* TO me@localhost;\n"
        )
        begin.chmod(0o644)
        subprocess.run(
            [program("mariadb-install-db"), "--no-defaults", f"--datadir={data}",
             "--auth-root-authentication-method=normal"],
            check=True, capture_output=True, cwd=folder, **options,
        )  # fmt: skip
        command = [
            program("mariadbd"), "--no-defaults", f"--datadir={data}", f"--socket={socket}",
            "--skip-networking", f"--init-file={begin}", f"--pid-file={folder / 'pid'}",
            "--innodb-flush-log-at-trx-commit=0",
        ]  # fmt: skip
        ready = [program("mariadb-admin"), "--no-defaults", f"--socket={socket}", "-ume",
                 f"-p{PASSWORD}", "ping"]  # fmt: skip
        with _server(folder, command, ready, options | {"cwd": folder}):
            yield f"mysql://me:{QUOTED}@localhost/studies?unix_socket={socket}"


# The server, its programs, the package of Debian that has them, and Python's driver.
SERVERS = {
    "postgresql": (postgresql, ("initdb", "postgres", "pg_isready"), "postgresql", "psycopg"),
    "mariadb": (
        mariadb, ("mariadb-install-db", "mariadbd", "mariadb-admin"), "mariadb-server", "pymysql",
    ),
}  # fmt: skip
