"""`python -m trnbench` is `trnbench`."""

from trnbench.cli.main import main

if __name__ == "__main__":
    main()
