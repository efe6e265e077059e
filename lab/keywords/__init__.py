"""Keywords of the Robot Framework suites: one module per subject, each a library of functions.

A suite asks `lab.keywords.labs` for its lab; all others work on that one. What `__all__` of a
module names are its keywords.
"""
