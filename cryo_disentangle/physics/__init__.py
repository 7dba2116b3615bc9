"""Molecular dynamics of a molecule with two basins: true states, times and temperatures."""
