"""Task families, one file a family: batched worlds that are told which task they are in."""
