"""RTP and RTCP: media streams, their quality, and the calls that they belong to."""

__version__ = "0.1.0"
