"""Live rates from AWS: one file for each way of renting, asked by clients that can only read."""
