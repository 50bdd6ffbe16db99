"""A Slurm cluster of several nodes on this machine: its own keys, ports and files in one folder.

Debian's slurmd runs several times on one host, each as a node of its own name, which does not
resolve as a host's. No systemd and no cgroups are needed; root is, which starts other users' steps.
By hand, until it is stopped:

    python -m tests.slurm.cluster start FOLDER     prints what to export
    python -m tests.slurm.cluster stop FOLDER

Source: slurm.conf(5) and munged(8) of Slurm 22.05 and munge 0.5.15.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")

PACKAGES = "apt-get install --no-install-recommends slurmctld slurmd slurm-client munge"

DEADLINE_SECONDS = 60.0
"""A cluster is up in a third of a second on quiet processors."""

NODE_TIMEOUT_SECONDS = 10
"""After which a silent node is down; where Slurm is at work it is 300."""

UNDER_WAY = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING")

CONF = """\
ClusterName=trnbench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SwitchType=switch/none
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1,sched_min_interval=0
ReturnToService=2
SlurmdTimeout={timeout}
SlurmctldTimeout={timeout}
KillWait=5
MessageTimeout=10
InactiveLimit=0
MinJobAge=300
SlurmdParameters=config_overrides
"""


def lacking() -> str | None:
    """Return why no cluster can be started here, and what mends it; None where one can."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    if missing:
        return f"Slurm is not here ({', '.join(missing)} missing): {PACKAGES}"
    return None if os.geteuid() == 0 else "slurmd starts jobs only as root"


class Cluster:
    """Nodes n1, n2, … with a partition `main` of all of them."""

    def __init__(self, folder: Path, nodes: int = 2, processors: int = 2) -> None:
        """Prepare; nothing runs yet.

        Args:
            folder: for all its files; made if it is not there, and absolute.
            nodes: how many.
            processors: that each claims to have; they are this machine's.
        """
        self.folder = folder.resolve()
        self.nodes = [f"n{number}" for number in range(1, nodes + 1)]
        self._processors = processors
        self.conf = self.folder / "slurm.conf"

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which this cluster is every Slurm command's; without a job's own."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
        return {**kept, "PATH": _path(), "SLURM_CONF": str(self.conf)}

    def start(self) -> None:
        """Start it and wait until every node is idle."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_conf()
        self._start_munge()
        self.run(["slurmctld", "-f", str(self.conf), "-c"])
        for node in self.nodes:
            self.revive(node)

    def revive(self, node: str) -> None:
        """Start a node and wait until it is idle."""
        (self.folder / f"spool.{node}").mkdir(exist_ok=True)
        self.run(["slurmd", "-N", node, "-f", str(self.conf)])
        self.wait_until(lambda: self.state(node) == "idle", 180)  # its last job may be ending

    def wait_until(self, holds: Callable[[], bool], seconds: float = DEADLINE_SECONDS) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                raise TimeoutError(f"it did not come to be within {seconds:g} s: {self.logs()}")
            time.sleep(0.05)

    def state(self, node: str) -> str:
        """Return a node's state, without the mark of one that does not answer."""
        asked = ["sinfo", "--noheader", "--nodes", node, "--format", "%T"]
        return self.run(asked, check=False).stdout.strip().rstrip("*")

    def run(
        self, command: Sequence[str], *, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of Slurm's on this cluster."""
        return subprocess.run(
            command,
            env=self.environment,
            check=check,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
        )

    def submit(self, script: Path, *options: str) -> int:
        """Submit a script and return the job's number."""
        return int(self.run(["sbatch", "--parsable", *options, str(script)]).stdout.split(";")[0])

    def job(self, number: int) -> dict[str, str]:
        """Return what Slurm knows of a job: JobState, ExitCode, Reason, NodeList and others."""
        said = self.run(["scontrol", "show", "job", "--oneliner", str(number)]).stdout
        return dict(part.split("=", 1) for part in said.split() if "=" in part)

    def end_of(self, number: int, seconds: float = 240.0) -> dict[str, str]:
        """Wait until a job is over, and return what Slurm knows of it."""
        self.wait_until(lambda: self.job(number)["JobState"] not in UNDER_WAY, seconds)
        return self.job(number)

    def processes_of(self, node: str) -> list[psutil.Process]:
        """Return the tasks of jobs on a node and all that they started, by their variables."""
        tasks = self._tasks()
        return [each for each in tasks if _variables_of(each).get("SLURMD_NODENAME") == node]

    def kill_node(self, node: str) -> None:
        """Kill a node as a power cut does: its daemon, the daemons of its steps and their tasks."""
        daemon = psutil.Process(int((self.folder / f"slurmd.{node}.pid").read_text()))
        victims = {daemon, *daemon.children(recursive=True)}
        for task in self.processes_of(node):
            with contextlib.suppress(psutil.Error):
                victims |= {task, *(p for p in task.parents() if p.name() == "slurmstepd")}
        for victim in victims:
            with contextlib.suppress(psutil.Error):
                victim.kill()
        psutil.wait_procs(victims, timeout=DEADLINE_SECONDS)

    def stop(self) -> None:
        """End every daemon and every process of its jobs."""
        if self.conf.exists():
            self.run(["scancel", "--user=root", "--signal=KILL", "--full"], check=False)
        pids = [
            int(text)
            for path in [*self.folder.glob("*.pid"), self.folder / "munge" / "pid"]
            if path.exists() and (text := path.read_text().strip()).isdecimal()
        ]
        left = [*self._tasks()]
        for pid in pids:
            with contextlib.suppress(psutil.NoSuchProcess):
                daemon = psutil.Process(pid)
                left += [daemon, *daemon.children(recursive=True)]
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        psutil.wait_procs(left, timeout=DEADLINE_SECONDS)

    def logs(self) -> str:
        """Return the end of every daemon's log."""
        paths = sorted(self.folder.glob("*.log"))
        return "\n".join(
            f"{path.name}: …{path.read_text(errors='replace')[-500:]}" for path in paths
        )

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _write_conf(self) -> None:
        host = socket.gethostname().split(".")[0]
        controller, *ports = _free_ports(1 + len(self.nodes))
        text = CONF.format(
            host=host, controller=controller, folder=self.folder, timeout=NODE_TIMEOUT_SECONDS
        )
        for node, port in zip(self.nodes, ports, strict=True):
            text += (
                f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
                f"CPUs={self._processors} RealMemory=2000 State=UNKNOWN\n"
            )
        text += "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n"
        (self.folder / "state").mkdir(exist_ok=True)
        self.conf.write_text(text)
        # Read by 22.05 only where a cgroup plugin is asked for; 23.02 and newer want it.
        (self.folder / "cgroup.conf").write_text(f"CgroupPlugin={_cgroup_plugin()}\n")

    def _start_munge(self) -> None:
        own = self.folder / "munge"
        own.mkdir(mode=0o755, exist_ok=True)
        key = own / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        files = {
            "--key-file": "key",
            "--socket": "socket",
            "--pid-file": "pid",
            "--log-file": "munged.log",
            "--seed-file": "seed",
        }
        named = [f"{option}={own / name}" for option, name in files.items()]
        self.run(["munged", "--force", *named])

    def _tasks(self) -> Iterator[psutil.Process]:
        """Yield the processes of this cluster's jobs."""
        for process in psutil.process_iter():
            variables = _variables_of(process)
            if variables.get("SLURM_CONF") == str(self.conf) and "SLURM_JOB_ID" in variables:
                yield process


def _variables_of(process: psutil.Process) -> Mapping[str, str]:
    try:
        return process.environ()
    except (psutil.Error, OSError):
        return {}


def _path() -> str:
    """Return PATH with the folders of system daemons, which a user's may lack."""
    return f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"


def _free_ports(count: int) -> list[int]:
    """Return ports that are free now; Slurm's daemons take a number and no socket."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _cgroup_plugin() -> str:
    said = subprocess.run(
        ["slurmd", "-V"], env={"PATH": _path()}, capture_output=True, text=True, check=True
    )
    return "autodetect" if said.stdout.split()[-1].startswith("22.") else "disabled"


def main(arguments: Sequence[str]) -> None:
    """Start or stop a cluster by hand."""
    verb, folder = arguments
    cluster = Cluster(Path(folder))
    if verb == "stop":
        cluster.stop()
        return
    if (why := lacking()) is not None:
        raise SystemExit(why)
    cluster.start()
    sys.stdout.write(f"export SLURM_CONF={cluster.conf}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
