"""What the user writes: one strict YAML file, and every fault in it at its line."""
