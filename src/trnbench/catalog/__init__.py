"""Facts with sources: one table a file, one loader a table."""
