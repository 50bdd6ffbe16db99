"""Imported results on disk: the kept lines of a log, how they were read, and what came of them.

results/<run>/<case>/import.json   what the user said of the log
                     log.gz        its lines that say something, without names and paths
                     result.json   derived from these two, can be deleted
"""

import functools
import gzip
import hashlib
import json
import re
import shutil
import tempfile
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trnbench import __version__
from trnbench.errors import ConfigError, DataError, Problem
from trnbench.imports import read_log
from trnbench.imports.analyze import result_of
from trnbench.imports.beside import (
    CONFIG_NAME,
    is_system,
    merged,
    of_mlperf_system,
    of_optimum_config,
)
from trnbench.imports.text import LogText
from trnbench.redact import quick_redact, redact
from trnbench.run import store
from trnbench.run.disk import write_whole
from trnbench.run.store import IMPORT_FILE, RunFolder
from trnbench.schema.imported import Given, ImportOrder
from trnbench.schema.result import Result, RunCase, RunDocument

LOG_FILE = "log.gz"
LARGEST_BESIDE = 2**20
"""Bytes of a file beside a log that is looked into."""
GZIP = 31
"""Of zlib: the largest window, with gzip's header."""


class KeptLines:
    """The lines of a log that say something, compressed in a temporary file while it is read."""

    def __init__(self) -> None:
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this
        self.clear()

    def clear(self) -> None:
        """Forget the lines so far."""
        self.file.seek(0)
        self.file.truncate()
        self._packer = zlib.compressobj(wbits=GZIP)
        self._digest = hashlib.sha256()
        self._between = b""

    def keep(self, line: str) -> None:
        """Add a line."""
        data = self._between + line.encode("utf-8", "replace")
        self.file.write(self._packer.compress(data))
        self._digest.update(data)
        self._between = b"\n"

    def digest_with(self, more: bytes) -> str:
        """End the file, and return the SHA-256 of its lines and of more."""
        self.file.write(self._packer.flush())
        self._digest.update(more)
        return self._digest.hexdigest()

    def move(self, path: Path) -> None:
        """Write them to a file, and end the temporary one."""
        self.file.seek(0)
        with self.file, path.open("wb") as file:
            shutil.copyfileobj(self.file, file)


Imported = tuple[Result, ImportOrder, KeptLines]


def import_log(path: Path, given: Given, run_id: str) -> Imported:
    """Read a log line by line; return its result, and what is kept of it.

    Raises:
        ConfigError: the folder for temporary files cannot be written.
        DataError: it is of no known program, or says too little.
    """
    text = LogText(path)
    kept = KeptLines()
    try:
        return _import(text, kept, given, run_id)
    except BaseException as error:
        kept.file.close()
        if isinstance(error, DataError) and not str(error).startswith(f"{path}: "):
            raise DataError.of(
                [Problem(f"{path}: {each.message}", each.hint) for each in error.problems]
            ) from error
        if isinstance(error, OSError):
            folder = tempfile.gettempdir()
            raise ConfigError(
                f"{folder}: the lines of a log cannot be kept there: {error.strerror}",
                hint="name another folder for temporary files: TMPDIR=FOLDER",
            ) from error
        raise


def _import(text: LogText, kept: KeptLines, given: Given, run_id: str) -> Imported:
    look_beside = functools.partial(_look_beside, text.path)
    read = read_log(text.lines(), given, quick_redact(), kept, look_beside)
    given = read.given.model_copy(update={"format": read.format})
    name = redact(text.path.name)
    made = kept.digest_with(given.model_dump_json(exclude_none=True).encode())
    stem = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40]
    order = ImportOrder(
        trnbench_version=__version__,
        imported_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S+00:00}",
        case_id=f"{stem or read.format}-{made[:8]}",
        file_name=name,
        format=read.format,
        sha256=text.sha256,
        lines=text.lines_read,
        is_cut_off=text.is_cut_off,
        given=given,
    )
    return result_of(read.log, order, read.program, run_id), order, kept


def _look_beside(path: Path, name: str, given: Given) -> Given:
    """Add what lies beside a log: optimum-benchmark's config, or MLPerf's system description."""
    found = None
    if name == "optimum-benchmark":
        config = path.parent / CONFIG_NAME
        document = _read_json(config)
        if isinstance(document, dict):
            found = of_optimum_config(document, config.name)
    elif name == "mllog":
        system = _system_of(path)
        if system is not None:
            found = of_mlperf_system(*system)
    # A file of the run itself is believed before a config that the user names for it.
    return given.model_copy(update={"beside": merged(found, given.beside)})


def _system_of(path: Path) -> tuple[dict[str, Any], str] | None:
    """Return the system description of a result file: beside it, or where MLPerf's rules put it.

    They put results/SYSTEM/BENCHMARK/result_0.txt beside systems/SYSTEM.json. Of several in one
    folder, the one whose name the log's begins with.
    """
    folder = path.resolve().parent
    beside = {each: _read_json(each) for each in sorted(folder.glob("*.json"))}
    systems = {each: document for each, document in beside.items() if is_system(document)}
    if len(systems) > 1:
        names = {each: each.stem.removesuffix("_system") for each in systems}
        systems = {each: systems[each] for each in systems if path.name.startswith(names[each])}
    if not systems:
        ruled = folder.parent.parent.parent / "systems" / f"{folder.parent.name}.json"
        document = _read_json(ruled)
        systems = {ruled: document} if is_system(document) else {}
    if len(systems) != 1:
        return None
    ((file, document),) = systems.items()
    return document, file.name


def _read_json(path: Path) -> Any:
    """Return a JSON document; None where there is none, or it is large."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_BESIDE:
            return None
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # it is another file than one is looked for
        return None


def store_imports(folder: Path, found: list[Imported]) -> list[Result]:
    """Write results into a run's folder, beside those that it holds.

    Raises:
        ConfigError: the folder cannot be written, or holds a run that was measured.
    """
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S+00:00}"
    run = RunFolder.open(folder)
    try:
        run.require_same_suite(["imported"])
        for result, order, kept in found:
            case = run.case(result.case_id)
            case.path.mkdir(exist_ok=True)
            kept.move(case.path / LOG_FILE)
            write_whole(case.path / IMPORT_FILE, order.model_dump_json(indent=1))
            case.write_result(result)
        run.write_document(
            RunDocument(
                trnbench_version=__version__,
                run_id=folder.resolve().name,
                suites=["imported"],
                started_at=now,
                ended_at=now,
                state="finished",
                machine={},
                devices=[],
                versions={},
                cases=[
                    RunCase(case_id=path.parent.name, status="finished")
                    for path in sorted(folder.glob(f"*/{IMPORT_FILE}"))
                ],
            )
        )
    except OSError as error:
        raise ConfigError(
            f"{folder}: cannot be written: {error.strerror}", hint="name another folder with `-o`"
        ) from error
    finally:
        run.close()
    return [result for result, _, _ in found]


def derive_import(case: Path, run_id: str | None = None) -> Result:
    """Make an imported result again from the lines that were kept.

    Raises:
        DataError: they cannot be read.
    """
    order = store.read_model(case / IMPORT_FILE, ImportOrder)
    path = case / LOG_FILE
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
            given = order.given.model_copy(update={"run": None})
            read = read_log((line.removesuffix("\n") for line in lines), given)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}", hint="import the log again") from error
    return result_of(read.log, order, read.program, run_id or case.resolve().parent.name)
