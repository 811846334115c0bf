"""Group relative policy optimisation (arXiv:2402.03300), and the rewards that drive it."""
