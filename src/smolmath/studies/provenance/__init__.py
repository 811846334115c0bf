"""Where a result comes from (trail), whether it is what it claims (verify), and both on the terminal (show)."""
