"""How many particles are where in a latent space, their uncertainty taken off: free energies."""
