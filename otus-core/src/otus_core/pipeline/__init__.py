"""One worker's packet path: frames in, outputs into the reporters' buffers, every step counted."""
