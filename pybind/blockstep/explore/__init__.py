# SPDX-License-Identifier: Apache-2.0
"""Exploring: a scenario run under many orders, faults and configurations; see docs/exploring.md.

    from blockstep.explore import ScenarioTrial, explore
    result = explore(ScenarioTrial(scenario), schedules=1000)
"""
from blockstep.explore.campaign import Campaign, Spec
from blockstep.explore.trial import ScenarioTrial, explore

__all__ = ["Campaign", "ScenarioTrial", "Spec", "explore"]
