"""What operators see of a running verifier: the fleet on a page and /metrics, on a listener of its own.

Nothing here is on the way of a decision: it reads the ledger and the audit as the command line beside the server does,
in two threads and over connections of its own, and it works without JavaScript because it has none.
"""
