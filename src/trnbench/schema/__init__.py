"""What is written to files: plans, measurements, results, comparisons, profiles, prices."""
