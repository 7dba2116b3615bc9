"""Pictures of reconstructions and of latent spaces, drawn without a display, and pages of them."""
