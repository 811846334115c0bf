"""`smolmath compare`: two results, of any two versions of the project, problem by problem.

`revisions` reads what a version predicted, from DVC's cache or remote, `compare` pairs and words, `show` prints.
"""
