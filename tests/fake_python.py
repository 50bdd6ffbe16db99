"""A stand-in for the training interpreter: it speaks the records' protocol and trains nothing.

`fake_python` writes an executable that `--python` can name. It says what it has, answers the probe
as a CPU would, runs blocks whose times are scripted, and at one step does what it is told to do
badly. Being a real process, it is launched, heard, ended and cleaned up as the real worker is.
"""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from trnbench.protocol.orders import PROTOCOL_VERSION

Behaviour = Literal[
    "good",
    "hangs",
    "ignores_sigterm",
    "dies",
    "aborts",
    "fails",
    "is_killed",
    "garbage",
    "endless_line",
    "out_of_memory",
    "not_finite",
    "never_learns",
    "babbles",
    "leaves_a_grandchild",
    "leaves_a_spinner",
    "old_protocol",
    "is_stopped",
    "crashes_after_its_last_record",
    "dies_under_the_profiler",
    "has_another_program",
    "has_no_seat",
    "contradicts",
]

ActAt = Literal["inventory", "probe", "start", "step", "end"]

SCRIPT = """import faulthandler, json, math, os, signal, subprocess, sys, time

faulthandler.register(signal.SIGUSR1, all_threads=True, chain=False)
BEHAVIOUR, AT_STEP, STEP_SECONDS = {behaviour!r}, {at_step}, {step_seconds}
BACKEND, WORDS = {backend!r}, {words!r}
arguments = sys.argv[1:]
document = json.loads(sys.stdin.readline())["task"]
task = document["kind"]
seat = document.get("seat") or dict(rank=0, world_size=1)
rank, ranks = seat["rank"], seat["world_size"]
ACT, ACT_AT, AT_LAUNCH = {act!r}, {act_at!r}, {at_launch}
if rank != {at_rank}:
    BEHAVIOUR, ACT = "good", ""
out = os.fdopen(int(arguments[-1]), "w", buffering=1)
began = time.perf_counter()  # moved back by what a step says that it took


def send(kind, **fields):
    out.write(json.dumps(dict(kind=kind, at_seconds=time.perf_counter() - began, **fields)) + "\\n")
    out.flush()


def act(where, launch=None):
    has_acted = __file__ + ".acted"
    if ACT and where == ACT_AT and launch in (None, AT_LAUNCH) and not os.path.exists(has_acted):
        open(has_acted, "x").close()
        exec(ACT, dict(globals()))


def count_launch():
    with open(__file__ + ".launches", "ab") as launches:
        launches.write(b".")
        launches.flush()
        return launches.tell()


act(task)
device = dict(backend=BACKEND, device_name="a processor", device_count=1, proven=True)
if task == "inventory":
    send("inventory", wire_version={protocol}, python="3.11", versions=dict(torch="0.0"),
         neuron=None, processor=dict(device, backend="cpu"),
         entry_points={{}} if BACKEND == "cpu" else {{"torch.backends": [BACKEND]}})
    send("finished", steps=0)
    sys.exit(0)

if task == "probe":
    send("probe", wire_version={protocol}, devices=[device], versions=dict(torch="0.0"))
    send("finished", steps=0)
    sys.exit(0)

order = document["order"]
pace_of_size = {pace_of_size!r}.get(order["micro_batch_size"], 1.0)
if pace_of_size is None:
    BEHAVIOUR, AT_STEP = "out_of_memory", 0
STEP_SECONDS *= pace_of_size or 1.0
launch = count_launch() if ACT else 0
act("start", launch)
send("phase", name="probe")
send("environment", wire_version=1 if BEHAVIOUR == "old_protocol" else {protocol}, backend=BACKEND,
     device_name="a processor", device_count=ranks, asynchronous=False, proven=True, threads=2,
     versions=dict(torch="0.0", python="3.11"), settings={{}})
send("ceiling", dtype="float32", points=[dict(size=512, flops_per_second=[1e12, 1.1e12, 1e12])])
send("phase", name="build")
send("built", parameter_count={parameters}, parameter_bytes=4 * {parameters},
     embeddings_are_tied=False)
if ranks > 1 and BEHAVIOUR != "has_no_seat":
    unlike = {{"has_another_program": "0f" * 16}}.get(BEHAVIOUR, "ab" * 16)
    device_id = 0 if BEHAVIOUR == "contradicts" else rank
    group = "mpi" if BEHAVIOUR == "contradicts" else "gloo"
    send("seated", rank=rank, node=0, device="cpu", device_id=f"device {{device_id}}",
         process_group=group, program=unlike)
HANGS = ("hangs", "ignores_sigterm", "leaves_a_grandchild", "leaves_a_spinner")
if BEHAVIOUR == "ignores_sigterm":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if BEHAVIOUR in ("leaves_a_grandchild", "leaves_a_spinner"):
    spin, wait = ["/bin/sh", "-c", "while :; do :; done"], ["tail", "-f", "/dev/null"]
    child = subprocess.Popen(spin if BEHAVIOUR == "leaves_a_spinner" else wait)
    print("grandchild", child.pid, flush=True)
send("phase", name="train")
step, has_skipped = 0, False
own = [json.dumps(dict(kind="run", steps=5, purpose="warmup"))] * 4
for line in own if task == "profile" else sys.stdin:
    command = json.loads(line)
    if command["kind"] == "finish":
        break
    if step >= AT_STEP:
        act("step", launch)
        if BEHAVIOUR in HANGS:
            print("the device does not answer", flush=True)
            while True:
                signal.pause()
        if BEHAVIOUR == "is_stopped":
            os.kill(os.getpid(), signal.SIGSTOP)
        if BEHAVIOUR == "dies":
            print(WORDS, flush=True)
            sys.exit(7)
        if BEHAVIOUR == "aborts":
            print(WORDS, flush=True)
            os.abort()
        if BEHAVIOUR == "fails":
            send("failed", reason="bug", message=WORDS, hint=None, detail="Traceback ...")
            sys.exit(0)
        if BEHAVIOUR == "is_killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if BEHAVIOUR == "garbage":
            out.write("Segmentation fault, sort of\\n")
        if BEHAVIOUR == "endless_line":
            while True:
                out.write("x" * 2**20)
        if BEHAVIOUR == "out_of_memory":
            send("failed", reason="out_of_memory", message="no room for 9 GiB", hint=None,
                 detail="Traceback ...")
            sys.exit(0)
    if BEHAVIOUR == "babbles":
        print("x" * 200000, flush=True)
    n = command["steps"]
    bad = BEHAVIOUR == "not_finite" and step >= AT_STEP
    pace = 1e9 if BEHAVIOUR == "never_learns" else 8.0
    losses = [0.73 + 6.95 * math.exp(-(step + i) / pace) for i in range(n)]
    if rank and BEHAVIOUR != "contradicts":
        losses = [loss + 0.001 * rank for loss in losses]
    norm = 1.01 if BEHAVIOUR == "contradicts" and step >= AT_STEP else 1.0
    seconds = n * STEP_SECONDS * (1 + 0.001 * (step % 3)) * (1 + 0.01 * rank)
    began -= seconds
    send("block", purpose=command["purpose"], first_step=step, steps=n,
         seconds=seconds, prepare_seconds=0.0,
         losses=[None if bad else loss for loss in losses], gradient_norms=[norm] * n,
         oracle_losses=[0.73] * n)
    step += n
    if BEHAVIOUR == "contradicts" and step == AT_STEP + 1 and not has_skipped:
        step, has_skipped = step - 1, True
act("end", launch)
send("phase", name="teardown")
if task == "profile":
    with open(document["trace"], "w") as trace:
        json.dump(dict(host_name="a-host", traceName=document["trace"], traceEvents=[]), trace)
    own_time = dict(name="aten::mm", within=None, calls=5, host_seconds=0.5, device_seconds=None)
    send("profiled", warmup_steps=5, steps=5, plain_seconds=[1.0, 1.0], profiled_seconds=1.25,
         window_seconds=1.25, operators=[own_time])
send("memory", peak_bytes=123456789, counted="process_rss")
if ranks > 1:
    digest = "0f" * 16 if BEHAVIOUR == "contradicts" else "ab" * 16
    send("replica", rank=rank, steps=step, digest=digest)
    open(f"{{__file__}}.{{rank}}", "w").close()
    if BEHAVIOUR == "dies_under_the_profiler":
        while not all(os.path.exists(f"{{__file__}}.{{each}}") for each in range(ranks)):
            os.sched_yield()  # no rank runs such a step alone
        sys.exit(7)
    if rank == 0:
        send("all_reduce", ranks=ranks, whole_bytes=2**24, seconds=[0.5, 0.4])
send("finished", steps=step)
if BEHAVIOUR == "crashes_after_its_last_record":
    os.kill(os.getpid(), signal.SIGSEGV)
"""

TINY_LLAMA_PARAMETERS = 893_568


def fake_python(
    folder: Path,
    behaviour: Behaviour = "good",
    *,
    at_step: int = 12,
    at_rank: int = 0,
    step_seconds: float = 0.25,
    backend: str = "cpu",
    words: str = "RuntimeError: something went wrong in /home/somebody/torch/lib.py",
    pace_of_size: Mapping[int, float | None] | None = None,
    act: str = "",
    act_at: ActAt = "step",
    at_launch: int = 1,
) -> str:
    """Write the executable and return its path.

    Args:
        folder: where to put it.
        behaviour: what it does from `at_step` on.
        at_step: the first step at which it misbehaves.
        at_rank: of a job, the one rank that misbehaves.
        step_seconds: what it says that a step took; no time passes.
        backend: of the one device that it says it has.
        words: what it says when it dies, aborts or fails.
        pace_of_size: by micro_batch_size, what a step's seconds are multiplied by; None: out of
            memory.
        act: Python that the rank at `at_rank` runs once, whatever its behaviour.
        act_at: when: as it takes a task, or in training at its start, from `at_step` on, or after
            its last step.
        at_launch: the launch of a case, from 1 over all cases, in whose training it acts.
    """
    script = folder / f"{behaviour}.py"
    script.write_text(
        SCRIPT.format(
            behaviour=behaviour,
            at_step=at_step,
            at_rank=at_rank,
            step_seconds=step_seconds,
            backend=backend,
            words=words,
            pace_of_size=dict(pace_of_size or {}),
            protocol=PROTOCOL_VERSION,
            parameters=TINY_LLAMA_PARAMETERS,
            act=act,
            act_at=act_at,
            at_launch=at_launch,
        )
    )
    path = folder / f"python-that-{behaviour}"
    # Through the shell, because a `#!` line holds no path with a space.
    path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -S "{script}" "$@"\n')
    path.chmod(0o755)
    return str(path)
