"""Rejection sampling: a model's own right solutions to problems whose answers are known, as data for a next phase.

Which problems (problems), which of their completions are kept (selection), and the run of it all (run).
"""
