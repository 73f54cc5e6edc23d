"""Reporter ``console``: prints what was captured, as text for people or as JSON lines for machines."""

__version__ = "0.1.0"
__all__ = ["__version__"]
