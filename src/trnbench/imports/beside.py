"""What files beside a log say of its run: a benchmark's config, a system description, a config.

Sources: optimum-benchmark, `benchmark/config.py` and `scenarios/training/config.py`; MLPerf
Training's rules, "System description".
"""

from collections.abc import Callable, Mapping
from typing import Any

from trnbench.errors import DataError
from trnbench.schema.imported import Beside

CONFIG_NAME = "benchmark_config.json"
"""As optimum-benchmark calls it, in the folder of its report."""


def of_optimum_config(document: Mapping[str, Any], file: str) -> Beside:
    """Read optimum-benchmark's config of a training: each process trains its own sequences.

    Raises:
        DataError: it has other types than that program writes.
    """

    def read() -> dict[str, Any]:
        scenario, launcher = document["scenario"], document.get("launcher") or {}
        shapes, arguments = scenario["dataset_shapes"], scenario["training_arguments"]
        processes = int(launcher.get("nproc_per_node") or 1)
        micro = int(arguments["per_device_train_batch_size"])
        passes = int(arguments["gradient_accumulation_steps"])
        gpus = (document.get("environment") or {}).get("gpu") or []
        backend = document.get("backend") or {}
        is_gpu = backend.get("device") in ("cuda", "gpu")
        return {
            "sequence_length": int(shapes["sequence_length"]),
            "micro_batch_size": micro,
            "accumulation": passes,
            "sequences_per_step": micro * passes * processes,
            "model_name": backend.get("model"),
            "device_name": str(gpus[0]) if gpus and is_gpu else None,
            "device_count": processes,
        }

    return _read(read, file, "optimum-benchmark's config of a training")


def is_system(document: Any) -> bool:
    """Tell whether a JSON document is MLPerf's description of a system."""
    return isinstance(document, dict) and {"accelerators_per_node", "number_of_nodes"} <= {
        *document
    }


def of_mlperf_system(document: Mapping[str, Any], file: str) -> Beside:
    """Read MLPerf's description of a system.

    Raises:
        DataError: its counts are no numbers.
    """

    def read() -> dict[str, Any]:
        chips = int(document["accelerators_per_node"]) * int(document["number_of_nodes"])
        name = document.get("accelerator_model_name") or None
        return {"device_count": chips or None, "device_name": name}

    return _read(read, file, "MLPerf's description of a system")


def merged(first: Beside | None, second: Beside | None) -> Beside | None:
    """Return the facts of both; where both have one, the first's."""
    if first is None or second is None:
        return first or second
    names = {*second.sources} - {*first.sources}
    facts = {name: getattr(second, name) for name in names}
    sources = {**second.sources, **first.sources}
    return first.model_copy(update={**facts, "sources": sources})


def beside_of(file: str, facts: Mapping[str, Any]) -> Beside:
    """Return facts with the file that they are from; None is no fact."""
    known = {name: value for name, value in facts.items() if value is not None}
    return Beside(sources=dict.fromkeys(known, file), **known)


def _read(read: Callable[[], dict[str, Any]], file: str, what: str) -> Beside:
    try:
        return beside_of(file, read())
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(
            f"{file} beside it is not {what}: {error!r}",
            hint="mend it, or move it away to do without",
        ) from error
