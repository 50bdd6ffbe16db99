"""Two sides of results: what is alike, how it differs, how sure that is. Pure."""
