"""The only code that touches this machine or the network."""
