"""Settles who gets a name that two plugins claim.

In: records, each with its components. Out: the same records, in which the losers say why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from otus_core.plugins.records import ComponentRecord, PluginRecord, Stage
from otus_core.plugins.selection import normalize

Claims = Mapping[tuple[str, str], Sequence[PluginRecord]]


def settle(records: Sequence[PluginRecord], prefer: Mapping[str, str]) -> list[PluginRecord]:
    """Find names that two claim: both lose them, unless ``prefer`` names one of their distributions; then the other's
    is disabled.
    """
    claims: dict[tuple[str, str], list[PluginRecord]] = {}
    for record in records:
        for component in record.components:
            claims.setdefault((component.kind, component.name), []).append(record)
    disputed = {claim: claimants for claim, claimants in claims.items() if len(claimants) > 1}
    return [_judge(record, disputed, prefer) for record in records]


def _judge(record: PluginRecord, disputed: Claims, prefer: Mapping[str, str]) -> PluginRecord:
    components = []
    for component in record.components:
        claimants = disputed.get((component.kind, component.name), ())
        wanted = normalize(prefer.get(f"{component.kind}:{component.name}", ""))
        winners = [claimant for claimant in claimants if normalize(claimant.distribution) == wanted]
        if claimants and not (len(winners) == 1 and winners[0] is record):
            component = _mark_lost(component, record, [one for one in claimants if one is not record], winners)
        components.append(component)
    lost = sorted((c for c in components if c.stage != "ready"), key=lambda c: c.stage == "disabled")
    if not lost:
        return record
    stage = lost[0].stage if len(lost) == len(components) else "ready"
    return attrs.evolve(record, stage=stage, reason=lost[0].reason, remedy=lost[0].remedy, components=tuple(components))


def _mark_lost(
    component: ComponentRecord, record: PluginRecord, others: Sequence[PluginRecord], winners: Sequence[PluginRecord]
) -> ComponentRecord:
    named = ", ".join(f"{other.plugin} ({other.distribution} {other.version})" for other in others)
    key = f"{component.kind}:{component.name}"
    stage: Stage = "conflict"
    if len(winners) == 1:
        stage = "disabled"
        reason = f"{component.kind} {component.name!r} is given to {winners[0].distribution} by plugins.prefer"
        remedy = f'to use this one, set plugins.prefer: {{"{key}": {record.distribution}}}'
    else:
        reason = f"{component.kind} {component.name!r} is claimed by {named} too"
        remedy = f'disable one of them, or set plugins.prefer: {{"{key}": {record.distribution}}}'
    return attrs.evolve(component, stage=stage, reason=reason, remedy=remedy)
