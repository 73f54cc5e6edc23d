from typing import final

STATIC_CODECS: dict[str, str]

@final
class Media:
    media: str
    port: int | None
    protocol: str
    formats: list[str]
    address: str | None
    rtcp_port: int
    rtcp_address: str | None
    rtcp_mux: bool
    rtpmap: list[str]
    direction: str
    @property
    def codecs(self) -> list[str]: ...

@final
class Sdp:
    origin: str | None
    name: str | None
    address: str | None
    direction: str
    media: list[Media]
