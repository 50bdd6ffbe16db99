"""Published runs: each with its citation, its date, and figures that can be."""

from trnbench.catalog.accelerators import accelerators
from trnbench.catalog.instances import instances
from trnbench.catalog.published import chip_of, is_same_model, published_results


def test_every_run_has_a_source_and_a_day() -> None:
    runs = published_results()
    assert len({run.name for run in runs}) == len(runs) > 500
    assert all(run.source and run.model and run.accelerator for run in runs)
    assert all(2015 < run.date.year < 2027 for run in runs)


def test_no_figure_is_zero_or_below() -> None:
    for run in published_results():
        assert run.tokens_per_second is None or run.tokens_per_second > 0, run.name
        assert run.accelerators is None or run.accelerators > 0, run.name
        assert run.sequence_length is None or run.sequence_length > 0, run.name


def test_trainium_is_there_by_publication_alone() -> None:
    of_trainium = [run for run in published_results() if run.accelerator.startswith("Trainium")]
    assert of_trainium
    assert {run.accelerator.lower() for run in of_trainium} <= set(accelerators())


def test_names_of_models_are_told_apart_by_letters_and_digits() -> None:
    assert is_same_model("llama3-8b", "Llama-3-8B")
    assert not is_same_model("llama3-8b", "Llama-3-80B")


def test_every_chip_has_its_instance_or_the_reason_for_none() -> None:
    for run in published_results():
        chip = chip_of(run)
        assert chip.source
        assert chip.accelerator_name in ("", *accelerators())
        if chip.instance and chip.accelerator is not None:
            assert instances()[chip.instance].accelerator == chip.accelerator
    of_40 = next(run for run in published_results() if "A100-40GB" in run.notes)
    assert chip_of(of_40).instance == "p4d.24xlarge"
