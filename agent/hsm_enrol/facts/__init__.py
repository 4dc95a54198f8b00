"""How `check` finds its facts, one module a subject; what they mean is in hsm_enrol.checks."""
