"""Takes the frames of chosen calls out of capture files."""
