"""From the bytes of a frame to a packet: link, IP, tunnel and transport headers, and IP fragments put together."""
