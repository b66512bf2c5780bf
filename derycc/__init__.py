"""The face of derycc: its public functions and its command line.

Importing it takes milliseconds; frameworks are imported by the functions that need them.
"""

__version__ = "0.1.0"
