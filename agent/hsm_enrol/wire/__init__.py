"""What both parties must agree on (docs/protocol.md). Pure: no network, no clock, no files."""
