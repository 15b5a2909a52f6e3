"""What `scripts/battery.py` tries: kinds of faults, each with members that a seed decides."""
