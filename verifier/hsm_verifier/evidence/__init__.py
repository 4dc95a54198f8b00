"""What AWS vouches for: each module returns exactly what was verified."""
