"""The command line: one file a command, and the only home of typer and of exit codes."""
