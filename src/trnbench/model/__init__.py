"""What follows from a model's shape alone: families, FLOPs, matmuls, bytes."""
