"""What can be rented: known chips, counts that are cited, a source for each."""

from tests.each import check_each
from trnbench.catalog import read_table
from trnbench.catalog.accelerators import accelerators
from trnbench.catalog.instances import hint_at_instances, instances

ROWS = read_table("instances.csv")


def test_an_instance_has_its_cited_chips() -> None:
    def check(name: str, accelerator: str, chips: int, devices: int) -> None:
        instance, chip = instances()[name], accelerators()[accelerator]
        assert instance.accelerator is chip
        assert (instance.chips, instance.chips * chip.devices_per_chip) == (chips, devices)

    check_each(
        [
            ("trn1.2xlarge", "trainium1", 1, 2),
            ("trn1.32xlarge", "trainium1", 16, 32),
            ("trn2.3xlarge", "trainium2", 1, 4),
            ("trn2.48xlarge", "trainium2", 16, 64),
            ("p4d.24xlarge", "a100-40", 8, 8),
            ("p5.4xlarge", "h100-sxm", 1, 1),
            ("p5.48xlarge", "h100-sxm", 8, 8),
            ("p5en.48xlarge", "h200", 8, 8),
            ("u-p6e-gb200x72", "gb200", 72, 72),
            ("v5p-8", "tpu-v5p", 4, 4),
        ],
        check,
    )


def test_a_machine_without_accelerators_has_no_chips() -> None:
    instance = instances()["m7i.xlarge"]
    assert (instance.accelerator, instance.chips) == (None, 0)


def test_an_accelerator_whose_figures_are_not_known_is_none() -> None:
    assert instances()["gpu_1x_gh200"].accelerator is None


def test_no_instance_stands_twice() -> None:
    assert len(instances()) == len(ROWS) > 100


def test_every_row_has_known_chips_and_a_source() -> None:
    def check(row: dict[str, str]) -> None:
        assert len(row["source"]) > 10
        assert row["provider"]
        assert row["accelerator"] in {"", *accelerators()}
        assert (int(row["chips"]) > 0) == bool(row["accelerator_as_sold"])

    check_each(ROWS, check)


def test_a_misspelt_instance_is_offered_its_nearest() -> None:
    assert hint_at_instances("trn2.48xlrge").startswith("did you mean trn2.48xlarge or ")
    assert hint_at_instances("p5.48xl", "rest").startswith("did you mean p5")
    assert hint_at_instances("zzzzzz", "rest") == "rest"
    assert hint_at_instances("trn").count(" or ") <= 2
