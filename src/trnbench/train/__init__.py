"""The worker: it imports the protocol, the standard library and torch alone."""
