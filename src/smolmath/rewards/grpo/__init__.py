"""What a completion is rewarded for, by name, and how the rewards are shaped."""
