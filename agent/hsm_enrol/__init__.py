"""The asserting party: joins this instance to its HSM group. Imports nothing: idle runs must stay quick."""

__version__ = "0.1.0"
