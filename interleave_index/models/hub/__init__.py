"""Models of a hub: getting them, finding them on this machine, loading them, and what they give."""
