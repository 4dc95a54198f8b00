"""Stand-ins for the Luna half: appliances that speak TLS, a client whose tools talk to them; see lab.luna.estate."""
