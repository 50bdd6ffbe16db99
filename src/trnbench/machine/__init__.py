"""This machine: what is plugged in, what it reports beside a run, and what is wrong with it."""
