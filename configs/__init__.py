"""Plain yaml: one folder a group, one file a choice, and one file a command."""
