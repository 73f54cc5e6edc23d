"""Configuration of the decoder, a task's ``decoder`` key."""

from __future__ import annotations

from otus_core.config.fields import Duration, configuration, option

TUNNELS = ("vxlan", "gre", "geneve", "ipip", "gtpu", "hep")


@configuration
class ReassemblyConfig:
    """Limits on the IP fragments that are held until their datagram is whole."""

    timeout: Duration = option(
        default=30.0, gt=0, le=3600, help="how long an incomplete datagram is held, by packet time"
    )
    max_fragments: int = option(default=10000, ge=2, le=1_000_000, help="fragments held at once")
    max_datagrams: int = option(default=8192, ge=1, le=1_000_000, help="incomplete datagrams held at once")
    max_bytes: int = option(default=16 * 2**20, ge=2**17, le=2**30, help="bytes held at once")
    max_fragments_per_datagram: int = option(
        default=1024, ge=2, le=8192, help="fragments of one datagram; 65,535 bytes over Ethernet are 45"
    )
    source_share: float = option(
        default=0.25,
        gt=0,
        le=1,
        help="share of the limits that one source address may take, and of datagrams 256 at most; its own oldest "
        "give way",
    )


@configuration
class DecoderConfig:
    """Which tunnels are looked into, and whether IP fragments are put together."""

    tunnels: tuple[str, ...] = option(
        default=(),
        choices=TUNNELS,
        help="tunnels to look into; gre includes ERSPAN, and hep is HEP over UDP and TCP",
        max_length=len(TUNNELS),
    )
    vxlan_ports: tuple[int, ...] = option(
        default=(4789,), ge=1, le=65535, max_length=8, help="UDP ports of VXLAN, often 8472 as well"
    )
    geneve_ports: tuple[int, ...] = option(default=(6081,), ge=1, le=65535, max_length=8, help="UDP ports of Geneve")
    gtpu_ports: tuple[int, ...] = option(default=(2152,), ge=1, le=65535, max_length=8, help="UDP ports of GTP-U")
    ip_reassembly: bool | ReassemblyConfig = option(
        default=True, help="put fragmented datagrams together: true, false, or limits"
    )

    @property
    def reassembly(self) -> ReassemblyConfig | None:
        """Limits of reassembly, ``None`` when it is off."""
        if isinstance(self.ip_reassembly, ReassemblyConfig):
            return self.ip_reassembly
        return ReassemblyConfig() if self.ip_reassembly else None
