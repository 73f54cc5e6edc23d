"""Processors ``filter`` and ``label``, and the filter's expression language.

``compile_expression(text)`` gives a predicate over ``OutputPacket``; it raises ``FilterSyntaxError``, which says where.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otus_filter.compiler import compile_expression
    from otus_filter.tokens import FilterSyntaxError

__version__ = "0.1.0"
__all__ = ["FilterSyntaxError", "__version__", "compile_expression"]


def __getattr__(name: str) -> Any:
    """Load the language at first use: listing plugins needs none of it."""
    if name == "compile_expression":
        from otus_filter.compiler import compile_expression

        return compile_expression
    if name == "FilterSyntaxError":
        from otus_filter.tokens import FilterSyntaxError

        return FilterSyntaxError
    raise AttributeError(f"module 'otus_filter' has no attribute {name!r}")
