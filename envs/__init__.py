"""Batched worlds, one file a world, and adapters for any Gymnasium id and dm_control task."""
