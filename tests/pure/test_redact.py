"""Taking paths, users and hosts out of a text; what remains can still be read."""

import getpass
import socket
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trnbench.redact import redact

NAME = st.text("abcdefghijklmnopqrstuvwxyz0123456789_-", min_size=5, max_size=12)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ('File "/home/bob/venv/lib/python3.11/site-packages/torch/nn/linear.py", line 3',
         'File "torch/nn/linear.py", line 3'),
        ('File "/opt/aws/lib/dist-packages/torch_neuronx/x.py", line 3',
         'File "torch_neuronx/x.py", line 3'),
        ('File "/home/bob/job/train.py", line 3', 'File "…/train.py", line 3'),
        ('File "/home/Bob Smith/my work/train.py", line 3', 'File "…/train.py", line 3'),
        ("[Errno 2] No such file: '/mnt/Bob Smith/a'", "[Errno 2] No such file: '…/a'"),
        ("cannot open /data/team-7/model.bin: denied", "cannot open …/model.bin: denied"),
        ("--plan=/data/team-7/plan.json", "--plan=…/plan.json"),
        ("(/data/team-7/x.so)", "(…/x.so)"),
        ("PATH=/opt/tools/one:/home/bob/bin/two", "PATH=…/one:…/two"),
        ("error:/home/bob/x.cpp:12: failed", "error:…/x.cpp:12: failed"),
        ("at file:///home/bob/x.py", "at …/x.py"),
        ("the folder /home/bob is full", "the folder /home is full"),
        ("g++ x.cpp -I/home/bob/include -L/opt/team/lib -O3", "g++ x.cpp -I…/include -L…/lib -O3"),
        ("-I/home/bob/my work/include -lgomp", "-I…/include -lgomp"),
        ("the folder /Users/bob/ is full", "the folder /home/ is full"),
    ],
)  # fmt: skip
def test_a_path_is_cut_to_what_anybody_s_would_be(said: str, kept: str) -> None:
    assert redact(said) == kept


@pytest.mark.parametrize(
    "said",
    [
        "see https://pytorch.org/docs/stable/notes/cuda.html",
        "12.5 tokens/s at 3/4 of the peak",
        "torch/nn/modules/linear.py",
        "and/or",
        "/proc",
        "…/train.py",
        "",
    ],
)
def test_what_is_no_path_of_this_machine_stays(said: str) -> None:
    assert redact(said) == said


def test_a_folder_of_this_process_goes_though_its_name_has_a_blank(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "prefix", "/home/bob/trn bench")
    said = "ld: /home/bob/trn bench/lib/x.so and /home/bob/trn bench: not found"
    assert redact(said) == "ld: …/lib/x.so and …: not found"


@pytest.mark.parametrize("variable", ["LOGNAME", "USER"])
def test_the_user_s_name_goes(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "alice.b")
    assert getpass.getuser() == "alice.b"
    said = "denied to alice.b; alice.b's quota; malice.bx is somebody else"
    assert redact(said) == "denied to …; …'s quota; malice.bx is somebody else"


def test_a_user_s_name_that_tells_nothing_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "root")
    assert redact("the root of the tree") == "the root of the tree"
    monkeypatch.setenv("LOGNAME", "ab")
    assert redact("x = ab @ c") == "x = ab @ c"


@pytest.mark.parametrize("error", [KeyError, OSError])
def test_a_container_whose_user_has_no_name_is_no_fault(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def nobody() -> str:
        raise error("getpwuid(): uid not found: 1234")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert redact("cannot open /data/team/x") == "cannot open …/x"


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("rank 0 on ip-10-0-0-7.ec2.internal died", "rank 0 on … died"),
        ("ip-10-0-0-7 lost", "… lost"),
        ("ip-10-0-0-71 is another", "ip-10-0-0-71 is another"),
    ],
)
def test_the_host_s_name_goes_long_or_short(
    monkeypatch: pytest.MonkeyPatch, said: str, kept: str
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "ip-10-0-0-7.ec2.internal")
    assert redact(said) == kept


@given(folders=st.lists(NAME, min_size=1, max_size=5), quote=st.sampled_from(["", "'", '"']))
def test_no_folder_of_an_absolute_path_is_left(folders: list[str], quote: str) -> None:
    path = "/" + "/".join(f"{folder}_folder" for folder in folders) + "/file.py"
    kept = redact(f"cannot read {quote}{path}{quote}, line 5")
    assert "_folder" not in kept
    assert "file.py" in kept


@given(st.text("""ab12/ "':.…-\n""", max_size=60))
def test_what_was_redacted_once_stays_as_it_is(said: str) -> None:
    once = redact(said)
    assert redact(once) == once
