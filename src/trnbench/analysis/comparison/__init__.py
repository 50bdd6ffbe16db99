"""Two sides of results to a comparison: what is alike, how it differs, how sure that is. Pure."""
