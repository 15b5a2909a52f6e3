"""What knows about disks, commands and people, and nothing about reinforcement learning."""
