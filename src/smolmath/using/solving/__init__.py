"""A trained model answers questions: found by name (models), loaded and asked (reasoner), read as it comes (parts)."""
