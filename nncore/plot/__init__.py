"""Plots of networks and of what they learn.

``diagram`` needs nothing; the others draw with matplotlib, which the extra ``plot`` brings.  They
take ``ax`` (``fig``) to draw on, return it, and leave matplotlib's settings alone.
"""

from nncore.plot._curves import activation, curves, history
from nncore.plot._diagram import Diagram, diagram
from nncore.plot._histograms import histograms
from nncore.plot._network import network
from nncore.plot._regions import decision_regions

__all__ = [
    "Diagram",
    "activation",
    "curves",
    "decision_regions",
    "diagram",
    "histograms",
    "history",
    "network",
]
