"""Several ranks as one job: where they meet, how they share the work, and that they agree."""
