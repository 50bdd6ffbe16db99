"""Imported results on disk: the kept lines of a log, how they were read, and what came of them.

results/<run>/<case>/import.json   what the user said of the log
                     log.gz        its lines that say something, without names and paths
                     result.json   derived from these two, can be deleted
"""

import gzip
import hashlib
import re
import zlib
from datetime import UTC, datetime
from pathlib import Path

from trnbench import __version__
from trnbench.errors import ConfigError, DataError, Problem
from trnbench.imports import read_log
from trnbench.imports.analyze import result_of
from trnbench.imports.text import LogText
from trnbench.redact import quick_redact, redact
from trnbench.run import store
from trnbench.run.disk import write_whole
from trnbench.run.store import IMPORT_FILE, RunFolder
from trnbench.schema.imported import Given, ImportOrder
from trnbench.schema.result import Result, RunCase, RunDocument

LOG_FILE = "log.gz"


def import_log(path: Path, given: Given, run_id: str) -> tuple[Result, ImportOrder, bytes]:
    """Read a log; return its result, and what is kept of it.

    Raises:
        DataError: it is of no known program, or says too little.
    """
    text = LogText(path)
    try:
        read = read_log(text.lines(), given, quick_redact())
        name = redact(path.name)
        kept = "\n".join(read.lines).encode()
        made = hashlib.sha256(kept + given.model_dump_json().encode()).hexdigest()
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
            given=given.model_copy(update={"format": read.format}),
        )
        return result_of(read.log, order, read.program, run_id), order, kept
    except DataError as error:
        if str(error).startswith(f"{path}: "):
            raise
        raise DataError.of(
            [Problem(f"{path}: {each.message}", each.hint) for each in error.problems]
        ) from error


def store_imports(folder: Path, found: list[tuple[Result, ImportOrder, bytes]]) -> list[Result]:
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
            (case.path / LOG_FILE).write_bytes(gzip.compress(kept, mtime=0))
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
        lines = gzip.decompress(path.read_bytes()).decode().split("\n")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}", hint="import the log again") from error
    given = order.given.model_copy(update={"run": None})
    read = read_log(iter(lines), given)
    return result_of(read.log, order, read.program, run_id or case.resolve().parent.name)
