"""A process group must not outlive its parent: one line of shell sees to it.

The guardian waits on a pipe that only the parent holds. If the parent dies in any way, the pipe
closes and the guardian kills the whole group.
"""

import contextlib
import subprocess

_LINE = 'read -r line || kill -s KILL -- "-$1"'


class Guardian:
    """Watches over one process group until it is dismissed."""

    def __init__(self, group: int) -> None:
        """Start it, in a session of its own."""
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _LINE, "trnbench-guardian", str(group)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.pid = self._process.pid

    def dismiss(self) -> None:
        """Let it go: the group is gone."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(b"done\n")
                self._process.stdin.close()
        self._process.wait()
