"""Configuration files for the command line."""
