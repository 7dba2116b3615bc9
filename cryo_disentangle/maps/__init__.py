"""Maps at the ends of latent axes, from the images of the particles that lie there."""
