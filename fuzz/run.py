"""One target under atheris, in a process of its own: `python -m fuzz.run TARGET [libFuzzer options]`."""

import sys

import atheris

OURS = [
    "airut_common.config",
    "airut_egress",
    "airut_gateway_email",
    "airut_mail_auth",
    "airut_sandbox",
    "fuzz",
]
with atheris.instrument_imports(include=[*OURS, "graphql", "idna", "dns"]):
    from fuzz.targets import TARGETS

if __name__ == "__main__":
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()
