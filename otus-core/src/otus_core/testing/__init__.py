"""What authors of plugins test with: frames, and the packets that the decoder makes of them."""
