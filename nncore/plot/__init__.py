"""Plots of networks and of what they learn.

``diagram`` needs nothing; the others draw with matplotlib, which the extra ``plot`` brings.
"""

from nncore.plot._network import network

__all__ = ["network"]
