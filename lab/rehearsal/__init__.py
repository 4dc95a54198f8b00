"""The rehearsal: the packages in a Debian image booted by a real systemd, with the laboratory around it."""
