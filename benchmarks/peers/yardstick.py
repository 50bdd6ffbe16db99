"""The job's FLOPs, the chip's peak, and what matmuls reach on this machine."""

from benchmarks.peers.bursts import Records, read_options
from benchmarks.peers.plan import make_job_plan
from trnbench.analysis.peak_flops import Peak, find_ceiling, find_peak
from trnbench.protocol.records import Ceiling
from trnbench.train.backends import backend_class
from trnbench.train.backends.base import Claim
from trnbench.train.microbench import measure_ceiling
from trnbench.train.precision import ceiling_dtypes


def main() -> None:
    """Measure the ceiling in this job's arithmetic, and say it beside the rest."""
    asked = read_options()
    plan = make_job_plan(asked)
    backend = backend_class(asked.device).open(
        Claim(precision=plan.order.precision, threads=asked.threads or None)
    )
    ceilings = [
        Ceiling(
            at_seconds=0.0,
            dtype=str(dtype).removeprefix("torch."),
            points=measure_ceiling(backend, dtype),
        )
        for dtype in ceiling_dtypes(plan.order.precision)
    ]
    Records(asked.records_fd).send(
        device_name=backend.device_name(),
        flops_per_token=plan.prediction.flops_per_token[plan.flops_convention],
        peak=_said(find_peak(plan, ceilings)),
        ceiling=_said(find_ceiling(plan, ceilings)),
    )


def _said(peak: Peak) -> dict[str, object]:
    return {"flops_per_second": peak.flops_per_second, "source": peak.source or peak.reason}


if __name__ == "__main__":
    main()
