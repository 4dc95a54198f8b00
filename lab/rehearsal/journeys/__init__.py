"""The journeys: what happens to a machine, each a function of a site that gives a few words for the table.

`joining`: how an instance becomes a member. `trouble`: what stands in its way. `living`: what comes afterwards.
`verifying`: the other side, a verifier out of its own package.
"""

from collections.abc import Callable

from lab.rehearsal.journeys import joining, living, trouble, verifying
from lab.rehearsal.site import Site

Journey = Callable[[Site], str]
# Each list is played one after the other on one site, the lists beside each other.
LISTS: dict[str, tuple[Journey, ...]] = {
    "a": (joining.first_boot, joining.cloud_init, joining.operator, living.rotation, living.upgrade, living.drift),
    "b": (
        trouble.verifier_down,
        trouble.power_cut,
        trouble.power_off,
        trouble.clock,
        joining.clone,
        joining.generalize,
        joining.user_data_schema,
        verifying.verifier_unit,
    ),
    "c": (trouble.two_minutes,),
}
# Played when the others are done: it measures.
ALONE: dict[str, tuple[Journey, ...]] = {"d": (living.idle_boot,)}
