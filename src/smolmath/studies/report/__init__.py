"""The report: `reports/index.html`, one self-contained page of what the recipe did, and its plots as SVG and PNG.

`collect` reads the working directory, `findings` compares and words, `plots` draws, `page` writes. No DVC stage: a
stage whose outs are git-ignored is never built on a fresh clone with a committed dvc.lock.
"""
