"""What the command `trnbench` and `python -m trnbench` call."""

import sys


def main() -> None:
    """Load the command line and run it; a Ctrl-C while modules load leaves no traceback."""
    try:
        from trnbench.cli.main import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
