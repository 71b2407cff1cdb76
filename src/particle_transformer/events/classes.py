"""The classes that have a meaning of their own."""

__all__ = ["DATA", "SIGNAL"]

SIGNAL = "signal"
"""The class that is searched for."""

DATA = "data"
"""The class of recorded events: no cross-section, weight 1, never trained on."""
