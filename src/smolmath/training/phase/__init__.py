"""What both methods share: the life of a phase, from data and model to checkpoints, curve and saved weights."""
