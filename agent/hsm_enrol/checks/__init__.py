"""What `hsm-enrol check` looks at, one module a subject: its facts as a frozen value, and the judgement over them."""
