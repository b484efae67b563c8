"""Output that never fails: whatever the terminal knows, and however early its reader leaves."""

import codecs
import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dmx.errors import UserError

PLAIN = {
    **dict.fromkeys("█▉▊▋▌▍▎▏▇▆▅▄▃▂▁", "#"),
    **dict.fromkeys("─━╌╴╶╸╺", "-"),
    **dict.fromkeys("│┃", "|"),
    **dict.fromkeys("•·", "*"),
    **{"…": "...", "–": "-", "—": "-", "×": "x", "→": "->", "≥": ">=", "≤": "<=", "±": "+-"},
    **dict.fromkeys("‘’", "'"),
    **dict.fromkeys("“”", '"'),
}
"""What stands for signs that a terminal does not know; a question mark stands for the others."""


def plain(error: UnicodeError) -> tuple[str, int]:
    """The error handler `dmx.plain`: signs by their likes, bytes of file names that are no text by their numbers."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    return "".join(_stand_in(sign) for sign in found), error.end


def _stand_in(sign: str) -> str:
    code = ord(sign)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else PLAIN.get(sign, "?")


codecs.register_error("dmx.plain", plain)


class Forgiving(io.TextIOBase):
    """A stream on which no text fails, and which discards its text once its reader is gone.

    It hides the bytes below it, which click would take for UTF-8 where they are ASCII.
    """

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a property there, too
        """How text becomes bytes."""
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """What becomes of signs that are unknown there."""
        return self._stream.errors

    def write(self, text: str) -> int:
        """Write what can be written of a text."""
        if text != "":  # by which click tries what kind of stream this is; bytes have to fail, too
            with self._left():
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Hand on what was written."""
        with self._left():
            self._stream.flush()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The number of the file below it."""
        return self._stream.fileno()

    @contextmanager
    def _left(self) -> Iterator[None]:
        """Where the reader has left (`| head`, a closed terminal), all else goes nowhere and the command goes on.

        Raises:
            UserError: The output cannot be written for another reason.
        """
        try:
            yield
        except OSError as error:
            with Path(os.devnull).open("w") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise UserError(f"the output cannot be written ({error.strerror}); send it elsewhere.") from None


def forgiving() -> None:
    """Make the two streams of this process such that no text fails on them."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by who called us
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - open to the end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="dmx.plain")
            setattr(sys, name, Forgiving(stream))
