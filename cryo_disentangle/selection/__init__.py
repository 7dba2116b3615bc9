"""Sets of particles, chosen in a latent space and written from the user's own particle file."""
