"""Training with Lightning; importing a submodule imports torch."""
