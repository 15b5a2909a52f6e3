"""Stage 1: learn skills without reward, measure them, look at them."""
