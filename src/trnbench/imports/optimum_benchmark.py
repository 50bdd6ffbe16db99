"""optimum-benchmark's report: the seconds of each optimizer step, by a callback around it.

Source: optimum-benchmark, `scenarios/training`: throughput is of one process.
"""

import json

from trnbench.imports.base import ImportedLog, Reader, Sample, refuse
from trnbench.imports.beside import of_optimum_config
from trnbench.schema.imported import Given


class OptimumBenchmark(Reader):
    """Its configuration is another file, or in the same one under `config`."""

    name = "optimum-benchmark"
    program = "optimum-benchmark"

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self.text: list[str] = []

    @classmethod
    def recognise(cls, head: str) -> bool:
        return head.lstrip()[:1] == "{" and '"latency"' in head and '"overall"' in head

    def feed(self, line: str) -> bool:
        self.text.append(line)
        return True

    def finish(self) -> ImportedLog:
        try:
            document = json.loads("\n".join(self.text))
            config, document = document.get("config"), document.get("report", document)
            train = document["train"]
            values = [float(value) for value in train["latency"]["values"]]
            unit = train["latency"]["unit"]
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise refuse(
                f"is no whole report of optimum-benchmark's training: {error!r}",
                "name the benchmark_report.json of a training",
            ) from None
        scale = {"s": 1.0, "ms": 1e-3}.get(unit)
        if scale is None:
            raise refuse(f"has latencies in {unit}", "seconds and milliseconds are known")
        warmup = document.get("warmup") or {}
        for number, value in enumerate((warmup.get("latency") or {}).get("values") or [], start=1):
            self.add(Sample(step=number, seconds=float(value) * scale, left_out="first_step"))
        done = len(self.samples)
        for number, value in enumerate(values, start=done + 1):
            self.add(Sample(step=number, seconds=value * scale))
        memory = train.get("memory") or {}
        reserved = memory.get("max_reserved") or memory.get("max_global_vram")
        inside = of_optimum_config(config, "its config") if config else None
        log = self.found(
            time_basis="step",
            synchronised="unknown",
            scope="process",
            memory_bytes=float(reserved) * 1e6 if reserved else None,
            sequences_per_step=inside and inside.sequences_per_step,
            sequence_length=inside and inside.sequence_length,
            micro_batch_size=inside and inside.micro_batch_size,
            accumulation=inside and inside.accumulation,
            device_count=inside and inside.device_count,
            device_name=inside and inside.device_name,
            model=inside and inside.model_name,
        )
        log.doubt(
            "per_process",
            "its throughput is of one process and is not used: tokens come from the config, or "
            "from --tokens-per-step",
        )
        return log
