"""The command `atelier`; the extra `cli` installs what it needs."""
