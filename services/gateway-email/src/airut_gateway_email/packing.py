"""Pure: the files of an answer as one archive, for relays that do not take them as they are."""

import io
import zipfile
from collections.abc import Sequence

from airut_gateway_email.replies import AttachedFile, shown_name

ARCHIVE_NAME = "files.zip"
#: What is already compressed does not get smaller: another attempt would only cost the relay's time.
_WORTHWHILE = 0.9
#: The same files make the same archive to the byte, so that a repeated mail is the same mail.
_TIME = (1980, 1, 1, 0, 0, 0)


def pack(files: Sequence[AttachedFile]) -> AttachedFile | None:
    """A zip archive of the files under flat, unique names; None when it would hardly be smaller."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, file in zip(_names(files), files, strict=True):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, file.data)
    packed = buffer.getvalue()
    if len(packed) > _WORTHWHILE * sum(len(file.data) for file in files):
        return None
    return AttachedFile(ARCHIVE_NAME, "application/zip", packed)


def _names(files: Sequence[AttachedFile]) -> list[str]:
    names: list[str] = []
    for number, file in enumerate(files, 1):
        # Flat and harmless, because whoever unpacks it trusts the archive: no `..`, no drive, no second of a kind.
        name = shown_name(file.name).replace(":", "_").lstrip(".") or "file"
        taken = {one.casefold() for one in names}
        names.append(f"{number}-{name}" if name.casefold() in taken else name)
    return names
