"""SFT follows worked solutions: it has no reward."""
