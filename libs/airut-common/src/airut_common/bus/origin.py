"""Did a service publish this message itself? (row 38 of the field notes)

JetStream answers a read on whatever reply subject the reader names, with rights of its own. A service that may write
anything it can also read could so have the server publish its words where it may not publish itself. Such a message
is recognisable: answers to reads name the stream they come from, other answers of the server lack the id that
`Bus.publish` always sets, and what a consumer delivers keeps its first subject.
"""

from collections.abc import Mapping

MESSAGE_ID = "Nats-Msg-Id"
_ANSWER_TO_A_READ = "Nats-Stream"


def published_by_a_service(headers: Mapping[str, str] | None) -> bool:
    """True for what came by way of `Bus`; False for what somebody made the server say."""
    return headers is not None and MESSAGE_ID in headers and _ANSWER_TO_A_READ not in headers
