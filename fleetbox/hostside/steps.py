"""The steps of an activation, in order; a host can lose power or be killed after any of them.

`reached` does nothing. It is where the tests stop the process dead: they run this program from a driver
that replaces it, so nothing on a host can ask for a fault. A step that no code reaches fails a test.
"""

from enum import Enum


class Step(Enum):
    """What is true from this moment on. "Durable" means that it survives a power cut."""

    RECEIVED = "the whole bundle is in memory, and its digest is the one asked for"
    OPENED = "the lock is held, the state directory is ours, leftovers of killed runs are gone"
    UNPACKED = "every file is written into a temporary directory of the store"
    FILES_SYNCED = "those files and directories are durable"
    PUBLISHED = "the directory has its final name in the store"
    STORE_SYNCED = "that name is durable"
    VALIDATED = "the content was read back from the store, and this host can use it"
    NUMBER_RESERVED = "the generation's number is used up, durably"
    GENERATION_WRITTEN = "generations/N points into the store"
    GENERATION_SYNCED = "generations/N is durable"
    BACK_LAID = "a pointer to the generation to go back to lies beside `current`, durably"
    PENDING_WRITTEN = "that the generation is on trial is remembered, durably"
    ARMED = "somebody else will go back when this process does not live to decide"
    SWITCHED = "`current` is the new generation"
    POINTER_SYNCED = "`current` is durable"
    SMOKE_DONE = "the critical checks have passed inside the new sandbox"
    CONFIRMED = "the generation is no longer on trial, durably"

    # Instead of CONFIRMED where a confirmation has to come over a fresh connection.
    AWAITING = "that the checks have passed, and until when to wait for the confirmation, is durable"

    # Only when the checks did not pass, or no confirmation came.
    SWITCHED_BACK = "`current` is the generation to go back to, or is gone when there was none"
    BACK_SYNCED = "that is durable"
    TRIAL_OVER = "that a generation was on trial is forgotten, durably"
    GENERATION_REMOVED = "the failed generation is no longer listed; its number stays used"


ACTIVATION = tuple(Step)[: tuple(Step).index(Step.CONFIRMED) + 1]
REVERSAL = tuple(Step)[tuple(Step).index(Step.SWITCHED_BACK) :]


def reached(step: Step) -> None:
    """Mark that `step` has just become true."""
