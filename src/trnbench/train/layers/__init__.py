"""What several families are built from: attention, positions, MLPs, experts."""
