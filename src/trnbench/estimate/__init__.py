"""How fast a training step is on machines that are not here: estimates with ranges. Pure."""
