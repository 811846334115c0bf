"""What a trained model is used for: solving, synthesis, agents, serving, publishing."""
