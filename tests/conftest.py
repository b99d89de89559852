from __future__ import annotations

# Its pytest plugin would import it only in the summary, where CPython 3.11's `ast` can fail on the
# depth of the stack ("AST constructor recursion depth mismatch").
import hypothesis  # noqa: F401
