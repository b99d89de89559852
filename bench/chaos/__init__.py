"""A server that is broken on purpose, and whether anybody lost a word by it."""
