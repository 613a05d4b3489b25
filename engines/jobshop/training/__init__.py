"""How the learned policies learn. What they learn on comes from outside, as shops."""
