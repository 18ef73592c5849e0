"""Text towers: words to token states."""
