"""How a message says that its conversation is to stop. Pure."""

from airut_common.contracts.v1 import TaskRequest


def asks_to_stop(request: TaskRequest) -> bool:
    """Whether a message says "stop" and nothing else. What mail programs add is not counted: a signature, the logo in
    it, a quotation, and the note that one was left out."""
    if request.conversation is None:
        return False
    said: list[str] = []
    for line in request.text.splitlines():
        text = line.strip()
        if text == "--" or text.startswith(("[", ">")):
            break
        said.append(text)
    return " ".join(said).strip(" .!").casefold() == "stop"
