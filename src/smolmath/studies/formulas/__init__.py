"""LaTeX in a page, as MathML that the browser draws itself: Temml 0.13.5 (temml.min.js, MIT), and what finds formulas.

A file of the package, since pages must work without a network; of npm's `temml`, unchanged.
"""

from functools import cache
from pathlib import Path


@cache
def formulas_script() -> str:
    """For a page's own <script>: afterwards `withFormulas(text, alone)` gives text's nodes, formulas set."""
    return "\n".join(
        Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("temml.min.js", "formulas.js")
    )
