"""What the embedded cloud knows and decides, whoever asks."""
