"""What a job costs, what moves that, and which of several ways is best. Pure."""
