"""Our own plan of a job: what `trnbench run` would tell its worker to do, as one line of JSON."""

from datetime import UTC, datetime

from benchmarks.peers.bursts import INIT_STD, NORM_EPSILON, Asked, read_options
from trnbench.config.load import check_document
from trnbench.config.yaml import parse_document
from trnbench.machine.describe import Devices, describe_machine
from trnbench.plan.make import make_plan
from trnbench.protocol.codec import encode
from trnbench.schema.plan import Plan
from trnbench.train.backends import backend_class

CONFIG = """\
name: step speed
device: {device}
model:
  family: llama
  layers: {job.layers}
  hidden_size: {job.width}
  heads: {job.heads}
  kv_heads: {job.kv_heads}
  intermediate_size: {job.mlp_width}
  vocabulary_size: {job.vocabulary}
  max_positions: {job.tokens}
  tied_embeddings: {tied}
  rope_theta: {job.rope_theta}
  norm_epsilon: {epsilon}
  init_std: {std}
workload:
  sequence_length: {job.tokens}
  global_batch_size: {job.sequences}
  precision: {asked.precision}
  execution: {asked.execution}
  activation_checkpointing: none
"""


def make_job_plan(asked: Asked) -> Plan:
    """Return the plan of this job, in which what is `auto` is resolved as ever."""
    text = CONFIG.format(
        asked=asked, job=asked.job, device=asked.device, tied=str(asked.job.is_tied).lower(),
        epsilon=NORM_EPSILON, std=INIT_STD,
    )  # fmt: skip
    found = backend_class(asked.device).find()
    if found is None:
        raise SystemExit(f"torch has no {asked.device} device here")
    (case,) = check_document(parse_document(text, "step_speed.yaml"))
    return make_plan(
        case,
        machine=describe_machine(),
        devices=Devices((found,), {}),
        today=datetime.now(UTC).date(),
    )


def main() -> None:
    """Print the order."""
    print(encode(make_job_plan(read_options()).order))


if __name__ == "__main__":
    main()
