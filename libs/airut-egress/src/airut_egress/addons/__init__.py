"""What happens at mitmproxy's hooks: judging requests, TLS on both sides, answers on their way back.

An addon belongs to one client connection. Its methods are named after the hooks; an exception in any of them ends
the connection.
"""

from .bodies import Bodies
from .judge import Judge
from .tls import Tls
from .transit import Transit

__all__ = ["Bodies", "Judge", "Tls", "Transit"]
