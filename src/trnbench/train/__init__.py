"""The child and the only home of torch: it imports `wire`, the standard library and torch alone."""
