"""The nouns: what crosses files and processes, what can go wrong, and how quantities are said."""
