"""Two files of vectors to a verdict: whether an upgrade without re-embedding is worth it."""
