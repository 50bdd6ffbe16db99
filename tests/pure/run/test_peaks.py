"""What a run finds of earlier `trnbench peak`s: the newest of as many such devices."""

from pathlib import Path

from tests.profiles import ENVIRONMENT, keep_peak
from tests.pure.train.orders import make_order
from trnbench.protocol.orders import WorkOrder
from trnbench.protocol.parallel import Layout
from trnbench.protocol.records import FoundDevice
from trnbench.run.microbench import find_all_reduce_peak

HERE = FoundDevice(
    backend=ENVIRONMENT.backend, device_name=ENVIRONMENT.device_name, device_count=4, proven=True
)


def order_of(ranks: int) -> WorkOrder:
    return make_order(
        backend=ENVIRONMENT.backend, layout=Layout(data_parallel_replicate_size=ranks)
    )


def test_the_newest_of_as_many_ranks_and_bytes_counts(tmp_path: Path) -> None:
    keep_peak(tmp_path, 3, 0.001)
    keep_peak(tmp_path, 5, 0.002)
    keep_peak(tmp_path, 7, 0.003, ranks=4)
    keep_peak(tmp_path, 8, 0.004, size=2)
    (tmp_path / "9").mkdir()
    (tmp_path / "9" / "peak.json").write_text("no document")
    found = find_all_reduce_peak(order_of(2), [HERE], tmp_path)
    assert found is not None
    assert (found.folder, found.seconds, found.source) == ("5", 0.004, "torch")
    assert found.started_at == "2026-11-05T00:00:00Z"


def test_another_device_one_rank_and_no_folder_have_none(tmp_path: Path) -> None:
    keep_peak(tmp_path, 3, 0.001)
    other = FoundDevice(backend=HERE.backend, device_name="another", device_count=4, proven=True)
    assert find_all_reduce_peak(order_of(2), [other], tmp_path) is None
    assert find_all_reduce_peak(order_of(1), [HERE], tmp_path) is None
    assert find_all_reduce_peak(order_of(2), [HERE], tmp_path / "none") is None
    assert find_all_reduce_peak(order_of(2), [HERE], tmp_path) is not None
