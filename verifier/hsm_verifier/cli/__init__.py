"""The commands of hsm-verifier, one module each: `add` declares arguments, `run` does it and gives the exit status."""
