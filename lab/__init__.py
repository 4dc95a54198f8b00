"""Stand-ins for what a laptop lacks: IMDS, AWS, the Luna client tools and appliances. Never installed."""
