"""What several families are built from: linear layers, attention, rotary positions, experts."""
