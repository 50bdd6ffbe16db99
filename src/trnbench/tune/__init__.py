"""Search over ways of carrying out one step: which there are, in which order, and which is best."""
