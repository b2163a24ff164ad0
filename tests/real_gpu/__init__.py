"""What only a machine with a real NVIDIA GPU can show; see __main__.py. No test here: it is run by hand."""
