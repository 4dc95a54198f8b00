"""The verifying party: checks an instance's proofs and hands it its sealed bundle, once."""

__version__ = "0.1.0"
