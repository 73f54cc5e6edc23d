"""What the decoder meets and does not look into: a closed list of kinds, with the words that tell of each.

A kind is counted as ``hidden{KIND}``, beside the accounting identity: its packets end as ``dropped{unmatched}`` or
another of the identity's terms all the same.
"""

from __future__ import annotations

from typing import NamedTuple

from otus_core.decode.link_types import UNREAD_LINK_TYPES
from otus_core.model.counter_names import name_of

UNSUPPORTED = "not supported yet"


class Hidden(NamedTuple):
    """``told``: what there is, its first word the plural of what is counted.

    ``remedy``: the option that would look, or that there is none.
    """

    told: str
    remedy: str


def _tunnel(name: str, option: str) -> Hidden:
    return Hidden(f"packets in {name}", f"decoder.tunnels: [{option}]")


KINDS: dict[str, Hidden] = {
    "vxlan": _tunnel("VXLAN", "vxlan"),
    "geneve": _tunnel("Geneve", "geneve"),
    "gtpu": _tunnel("GTP-U", "gtpu"),
    "gre": _tunnel("GRE", "gre"),
    "erspan": _tunnel("ERSPAN", "gre"),
    "ipip": _tunnel("IP in IP", "ipip"),
    "vxlan_port": Hidden(
        "packets in VXLAN on a port that is not configured", "decoder.tunnels: [vxlan] and decoder.vxlan_ports"
    ),
    "teredo": Hidden("packets in Teredo", UNSUPPORTED),
    "l2tp": Hidden("packets in L2TP", UNSUPPORTED),
    "etherip": Hidden("packets in EtherIP", UNSUPPORTED),
    "tzsp": Hidden("packets in TZSP", UNSUPPORTED),
    "hep": _tunnel("HEP", "hep"),
    "hep_tcp": _tunnel("HEP over TCP", "hep"),
    "esp": Hidden("packets in IPsec ESP", "encrypted, not supported"),
    "sctp": Hidden("packets in SCTP", UNSUPPORTED),
    "fragments_without_first": Hidden(
        "fragments whose first one was not captured", "a capture filter that lets all fragments through"
    ),
    "fragments_apart": Hidden("fragments that were not put together", "decoder.ip_reassembly: true"),
    "truncated_frames": Hidden("frames cut short by the capture", "a larger snap length (tcpdump -s 0)"),
}
"""In the order of the enumeration in ``hidden.pxd``."""
LINKS: dict[str, Hidden] = {
    **{
        f"link:{number}": Hidden(f"frames of link type {number} ({name})", UNSUPPORTED)
        for number, name in UNREAD_LINK_TYPES.items()
    },
    "link:other": Hidden("frames of a link type without a name", UNSUPPORTED),
}
"""Link types that are not read; which of them a capture has is known when the first frame comes."""


STREAMS: dict[str, Hidden] = {
    "compressed_websocket": Hidden(
        "messages in compressed WebSocket frames", "a capture that begins before their connection does"
    ),
    "cut_streams": Hidden("messages in TCP streams that were not captured whole", "a capture that loses no segments"),
}
"""What streams have that cannot be put together."""


def hidden_name(kind: str) -> str:
    """Give the counter of a kind: one of this module's, or one that a parser declares."""
    return name_of("hidden", kind)


def hidden_counters() -> tuple[str, ...]:
    """Give the names of all counters of this module."""
    return tuple(map(hidden_name, (*KINDS, *LINKS, *STREAMS)))
