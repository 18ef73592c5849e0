"""A throw-away server of PostgreSQL, from Debian's package or whatever `pg_config` or the path leads to."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

SETTINGS = {
    "fsync": "off",  # a crash of the machine may take the data, not one of the server
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "log_min_messages": "fatal",
}

EMPTY = """
SET session_replication_role = replica;
SET lock_timeout = '5s';
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version' LOOP
        EXECUTE 'DELETE FROM ' || name;
    END LOOP;
    FOR name IN SELECT sequencename FROM pg_sequences WHERE last_value IS NOT NULL LOOP
        EXECUTE 'ALTER SEQUENCE ' || name || ' RESTART';
    END LOOP;
    INSERT INTO catalog (id, change, created_at) VALUES (1, 0, clock_timestamp() AT TIME ZONE 'UTC');
END $$
"""


@cache
def programs() -> Path | None:
    """The folder of `initdb` and `postgres`, the newest one; None where no server is installed."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    on_path = shutil.which("initdb")
    if on_path:
        found.append(Path(on_path).resolve().parent)
    return max(found, key=lambda folder: (len(folder.parent.name), folder.parent.name), default=None)


class Server:
    """One running server, reached by a socket in its own folder; `stop` takes everything away.

    Names sort as in English, so that a statement which takes the order of bytes for granted is found out.

    Args:
        address: of this machine, by which those of its network reach the server; "" for none.
    """

    def __init__(self, address: str = "") -> None:
        found = programs()
        assert found is not None
        self.programs, self.address = found, address
        self.folder = Path(tempfile.mkdtemp(prefix="interleave-postgres-"))
        self.user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
        if os.getuid() == 0:  # PostgreSQL refuses to run as root
            owner = pwd.getpwnam(self.user)
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
            self.folder.chmod(0o755)
        words = ["--no-sync", "--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8"]
        self._run("initdb", *words, "--locale-provider", "icu", "--icu-locale", "en", "-D", str(self.data))
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in SETTINGS.items())
            file.write(f"unix_socket_directories = '{self.folder}'\nlisten_addresses = '{address}'\n")
        if address:
            with (self.data / "pg_hba.conf").open("a") as file:
                file.write("host all all samenet trust\n")
        self.databases, self.last = 0, ""
        self._blank: list[str] = []
        self.start()

    @property
    def data(self) -> Path:
        """Folder of the data."""
        return self.folder / "data"

    def _run(self, program: str, *words: str) -> None:
        subprocess.run(
            self._as_owner([str(self.programs / program), *words]), check=True, stdout=subprocess.DEVNULL, cwd="/"
        )

    def _as_owner(self, words: Sequence[str]) -> list[str]:
        if os.getuid() != 0:
            return [*words]
        return ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups", *words]

    def start(self) -> None:
        """Start it, and wait until it answers."""
        words = self._as_owner([str(self.programs / "postgres"), "-D", str(self.data)])
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log, cwd="/", start_new_session=True)
        ready = [str(self.programs / "pg_isready"), "--quiet", "--host", str(self.folder)]
        for _ in range(600):
            if subprocess.run(ready, check=False).returncode == 0:
                return
            assert self.process.poll() is None, (self.folder / "log").read_text()[-1000:]
            time.sleep(0.05)
        raise TimeoutError("PostgreSQL does not answer")

    def stop(self) -> None:
        """Stop it in order; connections are ended."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait()

    def kill(self) -> None:
        """Kill the server and all its processes at once, as a machine that loses its power."""
        leader = self.process.pid
        os.kill(leader, signal.SIGSTOP)  # so that it begets no more
        for child in Path(f"/proc/{leader}/task/{leader}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
        self.process.kill()
        self.process.wait()

    def remove(self) -> None:
        """Kill it and take all its files away."""
        self.kill()
        shutil.rmtree(self.folder)

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement outside of a transaction."""
        import psycopg

        with psycopg.connect(host=str(self.folder), user=self.user, dbname=database, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    def new_database(self, template: str = "template0") -> str:
        """Name of a new database."""
        self.databases += 1
        name = self.last = f"photos_{self.databases}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def blank(self) -> str:
        """Name of a database without a catalog, or with an empty one: one that was given back, or a new one."""
        return self._blank.pop() if self._blank else self.new_database()

    def give_back(self, database: str) -> None:
        """Take every row out of a catalog that nobody has open any more, so that another test may have it."""
        if self.sql("SELECT to_regclass('catalog')", database) != [(None,)]:
            self.sql(EMPTY, database)
        self._blank.append(database)

    def drop(self, database: str) -> None:
        """Take a database away."""
        self.sql(f"DROP DATABASE {database} WITH (FORCE)")

    def url(self, database: str, folder: Path | str) -> str:
        """What opens an index with its catalog in a database."""
        return f"postgresql+psycopg://{self.user}@/{database}?host={self.address or self.folder}&folder={folder}"
