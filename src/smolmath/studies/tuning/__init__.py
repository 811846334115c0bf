"""`smolmath tune`: a search space (search), DVC's queue (queue), how a trial stands (trials), the loop (study)."""
