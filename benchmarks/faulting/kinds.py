"""The kinds of faults: each makes one, at a random place, and says what is documented for it."""

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

from benchmarks.faulting import reader
from benchmarks.faulting.commands import Way, compile_clock
from benchmarks.faulting.power import Recorder, lose_power
from benchmarks.faulting.scene import CASES, Scene, Shot, Skipped, unmount
from tests.fake_python import ActAt
from tests.slurm.cluster import Cluster, lacking

STOPPED = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
"""The exit code after each signal. Source: README.md."""

RECORDED = {
    signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "terminated",
}  # fmt: skip

KILL_GUARDIAN = """
for name in os.listdir("/proc"):
    try:
        stat = open(f"/proc/{name}/stat").read().rpartition(")")[2].split()
        command = open(f"/proc/{name}/cmdline").read()
    except OSError:
        continue
    if int(stat[1]) == os.getppid() and "trnbench-guardian" in command:
        os.kill(int(name), signal.SIGKILL)
"""


# --- processes ------------------------------------------------------------------------------------


def kill_parent_at_step(scene: Scene) -> Shot:
    """As a rank starts, trains or ends."""
    scene.act(
        "os.kill(os.getppid(), signal.SIGKILL)", scene.chance.choice(["start", "step", "end"])
    )
    return Shot(ended=scene.call(), codes={-9})


def kill_parent_at_any_moment(scene: Scene) -> Shot:
    """Forked commands take half a second; executed ones begin by loading the package."""
    is_executed = scene.chance.random() < 0.2
    started = scene.start(Way(is_executed=is_executed))
    started.has_ended_within(scene.chance.uniform(0, 2.5 if is_executed else 0.9))
    os.kill(started.pid, signal.SIGKILL)  # it is not waited for yet: the number is its own
    return Shot(ended=started.wait(), codes={-9, 0})


def kill_guardian(scene: Scene) -> Shot:
    """The shell that ends all ranks when the parent is gone."""
    scene.act(KILL_GUARDIAN)
    return Shot(ended=scene.call(), codes={0}, acknowledged=None)


def kill_guardian_and_parent(scene: Scene) -> Shot:
    """Nothing but the closed pipes tells a rank that waits."""
    scene.act(KILL_GUARDIAN + "os.kill(os.getppid(), signal.SIGKILL)")
    return Shot(ended=scene.call(), codes={-9})


def kill_rank(scene: Scene) -> Shot:
    """By a signal that no rank can answer."""
    number = scene.chance.choice([signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT])
    at: ActAt = scene.chance.choice(["start", "step", "step", "end"])
    scene.act(f"os.kill(os.getpid(), {int(number)})", at)
    return Shot(ended=scene.call(), codes={4}, statuses={"died"})


def kill_question(scene: Scene) -> Shot:
    """A worker that was asked what is here, before anything is measured."""
    scene.ranks = 1
    at: ActAt = scene.chance.choice(["inventory", "probe"])
    scene.act("os.kill(os.getpid(), 9)", at)
    scene.at_launch = 1
    return Shot(ended=scene.call(), codes={3})


def stop_rank(scene: Scene) -> Shot:
    """It does not answer, and is not gone."""
    scene.hang_seconds = 1.0
    scene.act("os.kill(os.getpid(), signal.SIGSTOP)", scene.chance.choice(["start", "step"]))
    return Shot(ended=scene.call(), codes={4}, statuses={"hung"})


def signal_at_step(scene: Scene) -> Shot:
    """While a case is measured, once or twice."""
    number = scene.chance.choice([*STOPPED])
    more = scene.chance.choice(["", f"; os.kill(os.getppid(), {int(number)})"])
    scene.act(f"os.kill(os.getppid(), {int(number)}){more}", scene.chance.choice(["start", "step"]))
    return Shot(ended=scene.call(), codes={STOPPED[number]}, statuses={RECORDED[number]})


def signal_at_any_moment(scene: Scene) -> Shot:
    """Before the run begins, a signal other than Ctrl-C ends the process in the system's way.

    Before Python is up Ctrl-C does so too, and while it loads Ctrl-C leaves Python's traceback.
    """
    number = scene.chance.choice([*STOPPED])
    is_executed = scene.chance.random() < 0.5
    started = scene.start(Way(is_executed=is_executed))
    started.has_ended_within(scene.chance.uniform(0, 2.5 if is_executed else 0.9))
    os.kill(started.pid, number)
    ended = started.wait()
    codes = {0, STOPPED[number], -number}
    is_early = not ended.err or ("Traceback" in ended.err and "/trnbench/" not in ended.err)
    if number == signal.SIGINT and is_early:
        ended = replace(ended, err="")  # Python's own, before it runs a line of the package's
    elif number == signal.SIGINT:
        codes.remove(-number)
    return Shot(ended=ended, codes=codes)


# --- what ranks print -----------------------------------------------------------------------------

GARBAGE = (
    "out.buffer.write(os.urandom(300) + b'\\n'); out.flush()",
    "out.write('Segmentation fault, sort of\\n')",
    "out.write('{\"kind\": \"no such kind\"}\\n')",
    "out.write('{\"kind\": \"block\", \"steps\": NaN}\\n')",
    "out.write('[' * 200000 + '\\n')",
    "out.write('9' * 10000 + '\\n')",
    "out.write('\\0' * 5000 + '\\n')",
    "send('block', purpose='measure', first_step=step, steps=0, seconds=-1.0, prepare_seconds=0.0,"
    " losses=[], gradient_norms=[], oracle_losses=[])",
    "\nwhile True: out.write('x' * 2**20)",
    "out.write('{\"kind\": \"outcome\", \"at_seconds\": 1.0, \"status\": \"finished\"}\\n')",
)  # fmt: skip


def print_garbage(scene: Scene) -> Shot:
    """On the pipe of its records."""
    scene.act(scene.chance.choice(GARBAGE))
    return Shot(ended=scene.call(), codes={4}, statuses={"garbage"})


def print_torn_record(scene: Scene) -> Shot:
    """It exits with half a record sent."""
    scene.act('out.write(\'{"kind": "block", "purp\'); out.flush(); os._exit(3)')
    return Shot(ended=scene.call(), codes={4}, statuses={"died"})


def print_much(scene: Scene) -> Shot:
    """Up to a gigabyte, to standard output or error."""
    megabytes = scene.chance.choice([50, 200, 1024])
    stream = scene.chance.choice([1, 2])
    content = scene.chance.choice(["b'x' * 2**20", "b'\\n' * 2**20", "bytes(range(256)) * 4096"])
    scene.act(f"\nmuch = {content}\nfor _ in range({megabytes}): os.write({stream}, much)")
    return Shot(ended=scene.call(), codes={0})


def close_own_streams(scene: Scene) -> Shot:
    """Its records, or what it prints."""
    stream = scene.chance.choice(["1", "2", "out.fileno()"])
    scene.act(f"os.close({stream})")
    is_records = stream.startswith("out")
    return Shot(
        ended=scene.call(), codes={4} if is_records else {0},
        statuses={"died"} if is_records else (),
    )  # fmt: skip


# --- where output goes ----------------------------------------------------------------------------


def lose_output(scene: Scene) -> Shot:
    """Closed, full, or a pipe whose reader is gone; what is measured does not depend on it."""
    stream = scene.chance.choice(["stdout", "stderr"])
    how = scene.chance.choice(["closed", "/dev/full", "pipe"])
    codes = {"closed": {2}, "/dev/full": {2}, "pipe": {141}}[how] if stream == "stdout" else {0}
    asked: int | str = how
    if how == "pipe":
        gone, asked = os.pipe()
        os.close(gone)
    ended = scene.call(Way(is_executed=True, **{stream: asked}))  # type: ignore[arg-type]
    if how == "pipe":
        os.close(int(asked))
    scene.what = f"{stream} {how}"
    return Shot(ended=ended, codes=codes, acknowledged={*range(1, CASES + 1)})


# --- disks ----------------------------------------------------------------------------------------

FILL = """
with open({path!r}, "wb", buffering=0) as ballast:
    try:
        while True: ballast.write(bytes({part}))
    except OSError: pass
"""


def fill_disk(scene: Scene) -> Shot:
    """By another program, while a case is measured."""
    scene.mount()
    ballast, part = scene.results / "ballast", scene.chance.choice([100, 4096])
    scene.act(FILL.format(path=str(ballast), part=part), scene.chance.choice(["start", "step"]))
    return Shot(ended=scene.call(), codes={4}, statuses={"disk_full"}, repair=ballast.unlink)


def fill_disk_before(scene: Scene) -> Shot:
    """Too little room to begin, or enough for some of a run, or for all."""
    scene.mount()
    ballast = scene.results / "ballast"
    with ballast.open("wb") as file:
        free = os.statvfs(scene.results)
        room = free.f_bavail * free.f_frsize - scene.chance.randint(0, 90) * 4096
        file.write(bytes(max(room, 0)))
    return Shot(ended=scene.call(), codes={0, 4}, repair=ballast.unlink)


def limit_files(scene: Scene) -> Shot:
    """A limit on the size of a file: `write` fails as on a full disk, for one file alone.

    Its last words may not fit: no reserve makes room in a file.
    """
    blocks = scene.chance.randint(520, 560)  # of 512 bytes; the reserve takes 512 of them
    scene.samples, scene.end_seconds = 1500, 400.0
    limit = ("/bin/sh", "-c", f'ulimit -f {blocks}; exec "$@"', "sh")
    scene.options = ["--set", "measure.relative_precision=0.0000001"]
    ended = scene.call(Way(is_executed=True, prefix=limit))
    return Shot(ended=ended, codes={4}, statuses={"disk_full", None})


def give_up_privileges() -> None:
    """Let permissions hold for root too, in the process that calls this."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    sets = (ctypes.c_uint32 * 6)()
    if libc.capset(header, sets):
        raise OSError(ctypes.get_errno(), "capset")


def make_read_only(scene: Scene) -> Shot:
    """The folder's permissions are taken away while a user without privileges measures."""
    run = str(scene.run)
    places = f"[{run!r}]"
    if scene.chance.random() < 0.5:
        places = f"[{run!r}, *(e.path for e in os.scandir({run!r}) if e.is_dir())]"
    scene.act(f"\nfor place in {places}: os.chmod(place, 0o555)", "step")

    def repair() -> None:
        for place in [scene.run, *(p for p in scene.run.iterdir() if p.is_dir())]:
            place.chmod(0o777)

    scene.again = Way(before=give_up_privileges)
    return Shot(ended=scene.call(scene.again), codes={4}, repair=repair)


def begin_read_only(scene: Scene) -> Shot:
    """A disk that was mounted so."""
    scene.mount()
    subprocess.run(["mount", "-o", "remount,ro", str(scene.results)], check=True)

    def repair() -> None:
        subprocess.run(["mount", "-o", "remount,rw", str(scene.results)], check=True)

    return Shot(ended=scene.call(), codes={2}, repair=repair)


def fail_disk(scene: Scene) -> Shot:
    """A file system that its kernel has made read-only after an error of the disk."""
    image = scene.folder / "disk.img"
    scene.results.mkdir()
    with image.open("wb") as file:
        file.truncate(8 * 2**20)
    made = subprocess.run(
        f"mkfs.ext4 -q {image} && mount -o loop {image} {scene.results}",
        shell=True, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode:
        raise Skipped(f"ext4 cannot be mounted from a file: {made.stderr.strip()[-80:]}")
    scene.closing.callback(unmount, scene.results)
    abort = ["mount", "-o", "remount,abort", str(scene.results)]
    scene.act(f"subprocess.run({abort!r})")

    def repair() -> None:
        subprocess.run(["umount", str(scene.results)], check=True)
        subprocess.run(["fsck.ext4", "-y", str(image)], check=False, capture_output=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(scene.results)], check=True)

    return Shot(ended=scene.call(), codes={4}, repair=repair, keeps_unsynced=False)


def vanish(scene: Scene) -> Shot:
    """The run's folder, or all results, are deleted or moved while they are written."""
    place = scene.chance.choice([scene.run, scene.results])
    aside = str(scene.folder / "elsewhere")
    how = scene.chance.choice([f"import shutil; shutil.rmtree({str(place)!r})",
                               f"os.rename({str(place)!r}, {aside!r})"])  # fmt: skip
    scene.act(how, scene.chance.choice(["start", "step"]))
    return Shot(ended=scene.call(), codes={4}, acknowledged=set(), has_lost_folder=True)


def vanish_case(scene: Scene) -> Shot:
    """The folder of the case that is measured is deleted."""
    run = str(scene.run)
    newest = f"max((e for e in os.scandir({run!r}) if e.is_dir()), key=lambda e: e.stat().st_mtime)"
    scene.act(f"import shutil; shutil.rmtree({newest})")
    ended = scene.call()
    found = reader.read_run(scene.run)
    return Shot(ended=ended, codes={4}, damaged={*found.order} - {*found.cases})


# --- files ----------------------------------------------------------------------------------------

DAMAGES: dict[str, Callable[[bytes, Scene], bytes]] = {
    "cut": lambda text, scene: text[: scene.chance.randrange(len(text))],
    "cut at the last byte": lambda text, _: text[:-1],
    "emptied": lambda _, __: b"",
    "overwritten": lambda text, scene: _spliced(text, scene.chance.randbytes(40), scene),
    "overwritten by text": lambda text, scene: _spliced(text, b'"}\n{"kind": 9e999, [\n', scene),
    "zeroed from a byte on": lambda text, scene: (
        text[: (at := scene.chance.randrange(len(text)))] + bytes(len(text) - at)
    ),
    "doubled": lambda text, _: text + text,
    "a bit flipped": lambda text, scene: _flipped(text, scene),
    "nested": lambda _, __: b"[" * 100_000,
    "replaced by another program's": lambda _, __: b'{"schema_version": 99}\n',
}


def _spliced(text: bytes, part: bytes, scene: Scene) -> bytes:
    at = scene.chance.randrange(len(text))
    return text[:at] + part + text[at + len(part) :]


def _flipped(text: bytes, scene: Scene) -> bytes:
    at = scene.chance.randrange(len(text))
    return text[:at] + bytes([text[at] ^ (1 << scene.chance.randrange(8))]) + text[at + 1 :]


def damage_file(scene: Scene) -> Shot:
    """One file of a whole run is damaged, or lost."""
    ended = scene.call()
    found = reader.read_run(scene.run)
    case_id = scene.chance.choice(found.order)
    case = scene.run / case_id
    path = scene.chance.choice([
        case / "result.json", case / "plan.json", case / found.cases[case_id].launches[-1].name,
        case / "measurement.jsonl", scene.run / "run.json",
    ])  # fmt: skip
    how = scene.chance.choice([*DAMAGES, "deleted", "both"])
    scene.what = f"{path.name} {how}"
    if how == "deleted":
        path.unlink()
    elif how == "both":
        for each in (path, case / "result.json"):
            each.write_bytes(each.read_bytes()[: scene.chance.randrange(2000)])
    else:
        path.write_bytes(DAMAGES[how](path.read_bytes(), scene))
    is_record = path.suffix == ".jsonl"
    everything = {*range(1, CASES + 1)}
    if path.name == "run.json":
        return Shot(ended=ended, codes={0}, acknowledged=set(), still_known={*found.order})
    known = {case_id} if path.name == "result.json" and how != "both" else set()
    return Shot(
        ended=ended, codes={0}, acknowledged=everything,
        damaged={case_id} - known, still_known=known if not is_record else (),
    )  # fmt: skip


def lose_power_at_any_moment(scene: Scene) -> Shot:
    """What was not synced is lost, or half lost."""
    scene.results.mkdir()
    journal = scene.folder / "journal"
    die_at, dies_before = scene.chance.randint(1, 30), scene.chance.random() < 0.5
    by_rank = scene.chance.random() < 0.3
    if by_rank:
        scene.act("os.kill(os.getppid(), signal.SIGKILL)")
    recorder = Recorder(journal, 0 if by_rank else die_at, dies_before=dies_before)
    ended = scene.call(Way(before=recorder.begin))
    scene.wait_for_none()
    lose_power(scene.results, journal, scene.chance)
    return Shot(ended=ended, codes={-9, 0})


# --- locks, ports, clocks, memory -----------------------------------------------------------------


def stale_lock(scene: Scene) -> Shot:
    """The files that a killed run leaves, in a folder that nothing measures into."""
    scene.run.mkdir(parents=True)
    (scene.run / ".lock").write_bytes(scene.chance.choice([b"", b"12345\n", os.urandom(100)]))
    (scene.run / ".reserve").write_bytes(bytes(scene.chance.choice([0, 100, 2**19])))
    (scene.run / ".run.json.new").write_text("half a docu")
    if scene.chance.random() < 0.5:
        (scene.run / ".lock").chmod(0o444)
    return Shot(ended=scene.call(), codes={0})


def held_lock(scene: Scene) -> Shot:
    """Another process measures into the folder."""
    scene.run.mkdir(parents=True)
    lock = os.open(scene.run / ".lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    ended = scene.call()
    return Shot(ended=ended, codes={4}, repair=lambda: os.close(lock))


def take_ports(scene: Scene) -> Shot:
    """Every port that the system gives out is taken, in a network of its own."""
    if os.geteuid():
        raise Skipped("needs root, for a network of its own")
    scene.ranks = 2
    take = (
        "import os, socket, sys\n"
        "open('/proc/sys/net/ipv4/ip_local_port_range', 'w').write('50000 50003')\n"
        "held = [socket.create_server(('127.0.0.1', 50000 + n)) for n in range(4)]\n"
        "[os.set_inheritable(each.fileno(), True) for each in held]\n"
        "os.execvp(sys.argv[1], sys.argv[1:])\n"
    )
    up = ("/bin/sh", "-c", 'ip link set lo up; exec "$@"', "sh")
    prefix = ("unshare", "-n", *up, sys.executable, "-c", take)
    ended = scene.call(Way(is_executed=True, prefix=prefix))
    return Shot(ended=ended, codes={4}, statuses={"unavailable"})


def set_clock_back(scene: Scene) -> Shot:
    """The time of day jumps while a case is measured, and again before the command's next call."""
    library = compile_clock(scene.folder)
    if library is None:
        raise Skipped("needs a C compiler, for a library that changes the time of day")
    offset = scene.folder / "offset"
    offset.write_text("0")
    jump = scene.chance.choice([-3600, -86400, -40 * 365 * 86400, 86400, 10 * 365 * 86400])
    scene.act(f"open({str(offset)!r}, 'w').write('{jump}')")
    environment = {"LD_PRELOAD": str(library), "FAULT_CLOCK": str(offset)}
    scene.again = Way(is_executed=True, environment=environment)
    ended = scene.call(scene.again)
    found = reader.read_run(scene.run)

    def repair() -> None:
        offset.write_text(str(2 * jump))
        for case in found.cases.values():  # the system's own file times, which no library changes
            for name in ("plan.json", "measurement.jsonl", "result.json"):
                moment = (case.path / name).stat().st_mtime + scene.chance.choice([jump, -jump])
                os.utime(case.path / name, (max(moment, 0), max(moment, 0)))

    return Shot(ended=ended, codes={0}, repair=repair)


def little_memory(scene: Scene) -> Shot:
    """A limit on the address space of the command, which its workers inherit.

    numpy's OpenBLAS ends the process by itself, with a sentence and exit code 1.
    """
    kilobytes = scene.chance.randint(60, 700) * 1024
    limit = ("/bin/sh", "-c", f'ulimit -v {kilobytes}; exec "$@"', "sh")
    ended = scene.call(Way(is_executed=True, prefix=limit))
    scene.what = f"{kilobytes // 1024} MiB"
    return Shot(ended=ended, codes={0, 3, 4} | ({1} if "OpenBLAS error" in ended.err else set()))


def lose_node(scene: Scene) -> Shot:
    """Slurm's node dies with all of its processes, and comes back; the exit code is srun's own."""
    if (why := lacking()) is not None:
        raise Skipped(why)
    here = scene.folder / "here"
    scene.act(f"\nopen({str(here)!r}, 'w').close()\nsignal.pause()", "step")
    cluster = scene.closing.enter_context(Cluster(scene.folder / "slurm", nodes=1))
    srun = ("srun", "--nodes=1", "--ntasks=1", f"--cpus-per-task={CASES}")
    way = Way(is_executed=True, prefix=srun, environment=cluster.environment)
    scene.again = way
    started = scene.start(way)
    cluster.wait_until(lambda: here.exists() or started.has_ended_within(0.0))
    cluster.kill_node("n1")
    return Shot(ended=started.wait(), codes=range(256), repair=lambda: cluster.revive("n1"))


KINDS: dict[str, tuple[Callable[[Scene], Shot], int]] = {
    "kill -9 of the parent at a step": (kill_parent_at_step, 5),
    "kill -9 of the parent at any moment": (kill_parent_at_any_moment, 6),
    "kill -9 of the guardian": (kill_guardian, 2),
    "kill -9 of guardian, then parent": (kill_guardian_and_parent, 2),
    "kill of a rank": (kill_rank, 5),
    "kill -9 of a worker that is asked what is here": (kill_question, 1),
    "SIGSTOP of a rank": (stop_rank, 2),
    "SIGINT, SIGTERM, SIGHUP at a step": (signal_at_step, 5),
    "SIGINT, SIGTERM, SIGHUP at any moment": (signal_at_any_moment, 6),
    "a rank sends garbage": (print_garbage, 4),
    "a rank dies within a record": (print_torn_record, 2),
    "a rank prints 50 MB to 1 GB": (print_much, 2),
    "a rank closes its streams": (close_own_streams, 2),
    "stdout or stderr closed, full, without a reader": (lose_output, 4),
    "a full disk": (fill_disk, 5),
    "a disk too full to begin": (fill_disk_before, 3),
    "a file that may not grow": (limit_files, 1),
    "results made read-only": (make_read_only, 3),
    "read-only from the beginning": (begin_read_only, 1),
    "a disk that fails (ext4, aborted)": (fail_disk, 2),
    "the folder vanishes": (vanish, 3),
    "a case's folder vanishes": (vanish_case, 2),
    "a file damaged or lost": (damage_file, 12),
    "loss of power, only synced data kept": (lose_power_at_any_moment, 10),
    "a stale lock": (stale_lock, 1),
    "a lock held by another": (held_lock, 1),
    "no port": (take_ports, 2),
    "the clock jumps": (set_clock_back, 3),
    "little memory": (little_memory, 3),
    "a node vanishes in Slurm": (lose_node, 1),
}
"""Each with how often it comes, beside the others."""
