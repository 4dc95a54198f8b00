"""Simulates a fleet that starts at once: real wire, real verifier, real retries; network, clock and AWS are played."""
