"""Remembers whom this party has served: one owner per instance and serial (docs/protocol.md, O1 to O7, LG1 to LG5)."""
