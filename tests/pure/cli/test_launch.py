"""`trnbench launch`: shipped configs of whole machines for every engine, and what is refused."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.command import in_process
from tests.each import check_each
from tests.pure.plan.test_shipped import WHOLE
from trnbench.launchers import ENGINES
from trnbench.launchers.client import Answer

IMAGE = ("--image", "registry.example/trnbench:1")


def job_of(engine: str, *words: str, cwd: Path | None = None) -> str:
    done = in_process("launch", engine, *words, *IMAGE, cwd=cwd)
    assert done.code == 0, done.err
    return done.out


def run_of(text: str) -> list[str]:
    """Return the words of `trnbench run` in a job."""
    (line,) = [line for line in text.splitlines() if "trnbench run " in line]
    return shlex.split(line.partition("trnbench run ")[2].partition(" &")[0])


def test_every_config_of_a_whole_machine_is_a_job_of_every_engine(tmp_path: Path) -> None:
    def check(engine: str, name: str) -> None:
        instance = name.rpartition("-")[2]
        text = job_of(engine, name, "--max-usd", "60", "-o", "out", cwd=tmp_path)
        words = run_of(text)
        assert words[words.index("--max-usd") + 1] == "60"
        assert f": a job for {engine}, 1 x {instance}, ended after" in text
        if engine == "slurm":
            assert words[0] == name
            assert words[-1] == str(tmp_path / "out")
        else:
            assert f"instance: {instance}" in text  # the suite itself is in the job
            documents: list[Any] = [*yaml.safe_load_all(text)]
            assert all(isinstance(each, dict) for each in documents)

    check_each([(engine, name) for engine in ENGINES for name in WHOLE], check)


def test_a_layout_that_is_left_open_is_shared_out_over_all_machines() -> None:
    words = ("qwen3-8b", "--instance", "trn2.48xlarge", "--nodes", "2")
    text = job_of("slurm", *words, "--set", "workload.global_batch_size=128")
    assert "#SBATCH --nodes=2" in text
    assert "price.instance=trn2.48xlarge" in run_of(text)
    assert "at most $47.68: $35.7608 an hour for each" in text


def test_a_rate_that_holds_in_all_regions_names_none_to_rent_in() -> None:
    words = ("llama3-8b-p5.48xlarge", "--price-option", "capacity_block")
    everywhere = yaml.safe_load(job_of("skypilot", *words, "--set", "price.region=null"))
    assert everywhere["resources"]["infra"] == "aws"
    one = yaml.safe_load(job_of("skypilot", "llama3-8b-p5.48xlarge"))
    assert one["resources"]["infra"] == "aws/us-east-2"


def test_what_is_set_here_is_set_there(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("model: tiny-llama\ndevice: cpu\n")
    words = ("mine.yaml", "--set", "workload.seed=7", "--max-minutes", "5", "--env", "A=b c")
    slurm = job_of("slurm", *words, "--setup", "source /opt/v/bin/activate", cwd=tmp_path)
    settings = ["--set", "measure.max_minutes=5.0", "--set", "workload.seed=7"]
    assert run_of(slurm)[0] == str(tmp_path / "mine.yaml")
    assert sorted(run_of(slurm)[1:5]) == sorted(settings)
    assert "export A='b c'\nsource /opt/v/bin/activate\n" in slurm
    assert "#SBATCH --time=15\n" in slurm
    # The file of a container's suite has another name, which must not become the suite's.
    inside = job_of("skypilot", *words, cwd=tmp_path)
    assert 'name="mine"' in run_of(inside)


def test_a_job_goes_to_a_file(tmp_path: Path) -> None:
    done = in_process(
        "launch", "slurm", "quick", "--device", "cpu", "--write", "job.sh", cwd=tmp_path
    )
    assert (done.code, done.out) == (0, "")
    assert (tmp_path / "job.sh").read_text().startswith("#!/bin/bash\n# quick")
    assert "its price is not known" in done.err


def test_what_does_not_go_together_ends_with_code_2_and_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "rates.csv").write_text("")
    (tmp_path / "priced.yaml").write_text(
        "model: tiny-llama\ndevice: cpu\nprice: {instance: c7i.4xlarge, file: rates.csv}\n"
    )
    home = tmp_path / "home"
    home.mkdir()
    (home / "run.json").write_text("{}")
    whole = "llama3-8b-trn2.48xlarge"

    def check(words: str, said: str) -> None:
        done = in_process("launch", *shlex.split(words), cwd=tmp_path)
        assert (done.code, done.out) == (2, "")
        assert f"trnbench: {said}" in done.err, done.err

    check_each(
        [
            (f"slrum {whole}", "slrum: is no engine"),
            ("slurm", "SUITE: is missing"),
            ("slurm nothing", "nothing: is neither a file"),
            (f"slurm {whole} --follow 7", "--follow: takes the job alone"),
            (f"slurm {whole} --namespace x", "--namespace: is not an option of slurm"),
            (f"kubernetes {whole} --partition x", "--partition: is not an option of kubernetes"),
            (f"skypilot {whole} --sbatch=--qos=x", "--sbatch: is not an option of skypilot"),
            (f"kubernetes {whole}", "--image: is needed"),
            ("kubernetes qwen3-8b --image x", "--instance: is needed"),
            ("skypilot qwen3-8b", "--instance: is needed"),
            (f"slurm {whole} --instance trn9.large", "--instance trn9.large"),
            (f"slurm {whole} --instance p5.48xlarge", "device: neuron, and a p5.48xlarge has h100"),
            (f"slurm {whole} --nodes 2", "--nodes 2: llama3-8b-bf16-neuron-"),
            ("slurm qwen3-8b --instance trn2.48xlarge --nodes 2", "--nodes 2: qwen3-8b-bf16"),
            (f"slurm {whole} --time soon", "--time soon: is not a duration"),
            (f"slurm {whole} --time 2h --max-usd 20", "--max-usd 20: 120 minutes of 1 x $35.7608"),
            ("slurm quick --max-usd 20 --device cpu", "--max-usd 20 cannot be kept"),
            (f"slurm {whole} --env NAME", "--env NAME: is not NAME=VALUE"),
            (f"slurm {whole} --set workload.precision=fp8", "--set workload.precision=fp8"),
            (f"kubernetes {whole} --image x -o home", "home: holds a run"),
            ("skypilot priced.yaml", "price.file: rates.csv: is a file of this machine"),
            ("slurm --follow seven", "--follow seven: is no number"),
        ],
        check,
    )


def test_a_client_that_is_not_installed_ends_with_code_3(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from trnbench.errors import UnavailableError
    from trnbench.launchers import slurm

    def ask(words: list[str], **_: Any) -> Answer:
        raise UnavailableError(f"{words[0]}: is not installed on this machine", hint="install it")

    monkeypatch.setattr(slurm, "ask", ask)
    words = ("launch", "slurm", "quick", "--device", "cpu", "--submit", "-o", "home")
    done = in_process(*words, cwd=tmp_path)
    assert done.code == 3
    assert "trnbench: sbatch: is not installed on this machine" in done.err
