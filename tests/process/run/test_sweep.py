"""A sweep of real processes: cut by --max-cases, completed, and its failures measured again."""

import json
from pathlib import Path

from benchmarks.ranks import RANK, scripted_python
from tests.command import in_process

CONFIG = """\
name: sweep
model: tiny-llama
device: cpu
workload: {sequence_length: 64, global_batch_size: 4, threads: 1}
measure:
  {relative_precision: 0.0000001, min_seconds: 0, min_samples: 8, max_samples: 8, gate: false,
   ceiling: false, telemetry: false}
sweep_order: spread
sweep: {workload.sequence_length: [64, 72, 80, 88], workload.seed: [1, 2, 3, 4]}
"""

FAULTY = """\
    send("phase", name="build")
    import pathlib
    order = document["order"]
    fault = {(64, 1): "out_of_memory", (88, 4): "device_failure"}.get(
        (order["sequence_length"], order["seed"]))
    with open(__file__ + ".launched", "a") as launched:
        launched.write("%d %d\\n" % (order["sequence_length"], order["seed"]))
    if fault and not pathlib.Path(__file__ + ".mended").exists():
        send("failed", reason=fault, message="it failed", hint=None, detail="")
        sys.exit(1)
"""


def test_a_sweep_is_cut_completed_and_only_its_failures_are_measured_again(tmp_path: Path) -> None:
    python = scripted_python(tmp_path)
    script = tmp_path / "rank.py"
    whole = script.read_text()
    assert RANK.count('    send("phase", name="build")\n') == 1
    script.write_text(whole.replace('    send("phase", name="build")\n', FAULTY))
    config = tmp_path / "sweep.yaml"
    config.write_text(CONFIG)
    run = tmp_path / "run"
    command = ["run", config, "-o", run, "--python", python, "--json"]
    launched = script.with_name("rank.py.launched")

    def launches() -> list[tuple[int, int]]:
        lines = launched.read_text().splitlines() if launched.exists() else []
        launched.unlink(missing_ok=True)
        return [(int(length), int(seed)) for length, seed in map(str.split, lines)]

    in_process(*command, "--max-cases", "4")
    cut = launches()
    assert len(cut) == 4
    assert len({length for length, _ in cut}) >= 3  # as written, the first length alone
    done = in_process(*command)
    rest = launches()
    failed_before = {(64, 1), (88, 4)} & set(cut)
    assert len(rest) == 12 + len(failed_before - {(64, 1)})
    assert done.code == 4
    outcomes = [result["outcome"] for result in json.loads(done.out)["results"]]
    assert sorted(outcomes) == ["device_failure"] + ["finished"] * 14 + ["out_of_memory"]

    assert in_process(*command, "--retry", "none").code == 4
    assert launches() == []
    script.with_name("rank.py.mended").touch()
    assert in_process(*command).code == 4  # the answer stays
    assert launches() == [(88, 4)]
    assert in_process(*command, "--retry", "all").code == 0
    assert launches() == [(64, 1)]
    assert json.loads((run / "run.json").read_text())["state"] == "finished"


def test_a_large_sweep_is_refused_until_it_is_agreed_to(tmp_path: Path) -> None:
    config, run = tmp_path / "large.yaml", tmp_path / "run"
    text = CONFIG.replace("sweep_order: spread\n", "price: {usd_per_hour: 2.5}\n")
    seeds = "[" + ", ".join(map(str, range(1, 1001))) + "]"
    config.write_text(text.replace("[1, 2, 3, 4]", seeds))
    done = in_process("run", config, "-o", run)
    assert done.code == 2
    assert "sweep makes 4,000 cases: up to 41.7 d in all, for at most $2,500" in done.err
    assert "add `--yes` to measure them all" in done.err
    lengths = "[" + ", ".join(map(str, range(64, 1064))) + "]"
    config.write_text(config.read_text().replace("[64, 72, 80, 88]", lengths))
    for words in ([], ["--max-cases", "2000"], ["--yes"]):
        done = in_process("run", config, "-o", run, *words)
        assert done.code == 2
        assert "sweep makes 1,000,000 cases" in done.err
        assert ("2,000 to measure" in done.err) == bool(words == ["--max-cases", "2000"])
    assert not run.exists()
    done = in_process("run", "--ab", config, config, "--retry", "all")
    assert done.code == 2
    assert "--retry all: does not go with --ab" in done.err
