"""Disentanglement and pose metrics: how much of a molecule a latent space has found."""
