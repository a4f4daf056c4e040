"""What is asked, and what is done to the installation meanwhile: both from one seed. Pure."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

BlowKind = Literal["kill", "pause", "cut the bus", "fill the disk", "skew the clock"]

SERVICES: Final = ("orchestrator", "egress-proxy", "gateway-email", "dashboard")
BUS: Final = "nats-server"
CONTAINER: Final = "a container"
_BLOWS: Final[Sequence[tuple[BlowKind, str, int]]] = (
    ("kill", "orchestrator", 8),
    ("kill", "egress-proxy", 5),
    ("kill", "gateway-email", 5),
    ("kill", "dashboard", 2),
    ("kill", BUS, 5),
    ("kill", CONTAINER, 4),
    ("pause", "orchestrator", 2),
    ("pause", "egress-proxy", 1),
    ("pause", "gateway-email", 1),
    ("pause", BUS, 2),
    ("pause", CONTAINER, 1),
    ("cut the bus", BUS, 2),
    ("fill the disk", "state", 2),
    ("skew the clock", "orchestrator", 1),
    ("skew the clock", "gateway-email", 1),
    ("skew the clock", "egress-proxy", 1),
)
"""With how often each is chosen."""
_THREAD_LENGTH: Final = 8


@dataclass(frozen=True)
class Message:
    """One mail of a thread."""

    number: int
    """Stands in the mail and in the answer; counts upwards within a thread."""
    after_seconds: float
    """Since the mail before it was accepted."""
    work_seconds: float
    needs_network: bool


@dataclass(frozen=True)
class Thread:
    """One conversation. What comes after its first message waits for the first answer, to have a thread to continue."""

    name: str
    start_seconds: float
    messages: Sequence[Message]
    real_agent: bool


@dataclass(frozen=True)
class Blow:
    """One misfortune. `seconds` is how long it lasts; of a skewed clock, how wrong it is."""

    at_seconds: float
    kind: BlowKind
    target: str
    seconds: float


@dataclass(frozen=True)
class Plan:
    """One run."""

    seed: int
    threads: Sequence[Thread]
    blows: Sequence[Blow]

    @property
    def messages(self) -> int:
        """How many mails are sent."""
        return sum(len(thread.messages) for thread in self.threads)


def make_plan(seed: int, *, messages: int, seconds: float, blows: int) -> Plan:
    """`messages` mails that begin within `seconds`, and so many blows spread over the same time."""
    chance = random.Random(seed)
    threads: list[Thread] = []
    for begin in range(0, messages, _THREAD_LENGTH):
        numbers = range(begin + 1, min(begin + _THREAD_LENGTH, messages) + 1)
        threads.append(
            Thread(
                name=f"thread-{seed}-{len(threads) + 1}",
                start_seconds=chance.uniform(0, seconds * 0.6),
                messages=[_message(chance, number) for number in numbers],
                real_agent=len(threads) % 12 == 1,
            )
        )
    weights = [weight for *_, weight in _BLOWS]
    gap = seconds / blows
    chosen = chance.choices(_BLOWS, weights, k=blows)
    return Plan(
        seed,
        threads,
        [
            Blow((number + chance.random()) * gap, kind, target, _length(chance, kind))
            for number, (kind, target, _) in enumerate(chosen)
        ],
    )


def _message(chance: random.Random, number: int) -> Message:
    return Message(
        number=number,
        after_seconds=chance.choice((0.0, 0.2, 3.0, 8.0)),
        work_seconds=round(chance.uniform(0.1, 2.0), 2),
        needs_network=chance.random() < 0.3,
    )


def _length(chance: random.Random, kind: BlowKind) -> float:
    match kind:
        case "kill":
            return 0.0
        case "skew the clock":
            return chance.choice((-600.0, -90.0, 90.0, 600.0))
        case _:
            return chance.uniform(1.0, 6.0)
