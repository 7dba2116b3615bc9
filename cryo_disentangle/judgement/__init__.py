"""The judge of latent spaces: what is inferred of particles, scored and put into words."""
