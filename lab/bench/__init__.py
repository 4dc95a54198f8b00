"""Measures: the verifying party under load, and whole processes side by side. Never installed."""
