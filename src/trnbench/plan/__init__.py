"""One case, resolved: every number that a run needs before its first step. Pure."""
