"""Keys and certificates: read from files, never shown.

A key reaches the endpoint in a header and nothing else. ``Redactor`` takes it
out of every text that leaves the process, since a server may echo it in an
error message.
"""

import logging
import ssl
from pathlib import Path

from vllm_eval.errors import SecretError
from vllm_eval.strict import whole_text

REDACTED = "[redacted]"
# A shorter key would be found inside ordinary words, and every answer with
# such a word would be changed.
MIN_REDACTED = 6


class Redactor(logging.Filter):
    """Replace known secrets in texts and in log records."""

    def __init__(self) -> None:
        super().__init__()
        self._secrets: list[str] = []

    def add(self, secret: str) -> None:
        """Hide ``secret`` from now on; keys under 6 characters are not hidden."""
        if len(secret) >= MIN_REDACTED and secret not in self._secrets:
            self._secrets.append(secret)

    def text(self, text: str) -> str:
        """Return ``text`` with every known secret replaced, and each half of a surrogate pair by U+FFFD.

        Such a half is no character: UTF-8 cannot encode it, and no file could hold the text.
        """
        text = whole_text(text)
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, REDACTED)
        return text

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact a log record in place; always lets it through."""
        if self._secrets:
            record.msg = self.text(record.getMessage())
            record.args = ()
            if record.exc_info:
                record.exc_text = self.text(logging.Formatter().formatException(record.exc_info))
                record.exc_info = None
        return True


def read_secret(folder: Path, key: str, *, model: str, field: str) -> str:
    """Read one file of the Secret ``vllm-eval-endpoints``.

    Raises
    ------
    SecretError
        The file is missing, unreadable or empty; the text names the model's
        field and the cure, never the content.
    """
    path = folder / key
    try:
        value = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SecretError(
            f"model {model!r}: {field} is {key!r}, but {path} cannot be read ({type(error).__name__}); "
            f"add the key {key!r} to the Secret vllm-eval-endpoints"
        ) from None
    if not value:
        raise SecretError(f"model {model!r}: {field} is {key!r}, but {path} is empty")
    return value


def header_key(key: str, source: str) -> str:
    """Return a key without the white space around it, such as the newline at the end of a file.

    Raises
    ------
    SecretError
        No header can hold the key. ``source`` names where it comes from; the key is not shown.
    """
    key = key.strip()
    bad = next((char for char in key if not "!" <= char <= "~"), None)
    if bad is None:
        return key
    if bad.isspace():
        what = "a blank or a line break"
    elif bad.isascii():
        what = "a control character"
    else:
        what = "a character outside of ASCII"
    raise SecretError(f"{source} holds {what}, which no key has; give the key alone, without quotation or `Bearer`")


def tls_context(ca_pem: str | None) -> ssl.SSLContext:
    """Trust the system's authorities, and ``ca_pem`` (PEM text) besides.

    Raises
    ------
    SecretError
        ``ca_pem`` is not a certificate.
    """
    context = ssl.create_default_context()
    if ca_pem is not None:
        try:
            context.load_verify_locations(cadata=ca_pem)
        except (ssl.SSLError, ValueError):
            raise SecretError("the model's ca is not a certificate in PEM form (-----BEGIN CERTIFICATE-----)") from None
    return context
