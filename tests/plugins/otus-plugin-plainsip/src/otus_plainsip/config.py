"""Options of the parser ``plainsip``."""

import otus_core


@otus_core.configuration
class PlainSipConfig:
    """Where SIP is expected."""

    ports: tuple[int, ...] = otus_core.option(
        default=(5060, 5061),
        ge=1,
        le=65535,
        max_length=64,
        help="Ports on which unknown methods and malformed start lines count as SIP too",
    )
