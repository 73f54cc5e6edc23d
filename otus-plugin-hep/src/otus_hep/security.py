"""TLS as the options say, for both sides."""

from __future__ import annotations

import ssl

from otus_core import PluginInitFailed, read_secret
from otus_hep.config import TlsOptions


def client_context(tls: TlsOptions) -> ssl.SSLContext:
    """Give the context of connections that we open. Raises PluginInitFailed for files that cannot be used."""
    try:
        context = ssl.create_default_context(cafile=tls.ca_file or None)
        context.check_hostname = tls.verify_hostname
        _load(context, tls)
    except (OSError, ValueError) as error:
        raise PluginInitFailed(f"tls: {_said(error, tls)}") from None
    return context


def _load(context: ssl.SSLContext, tls: TlsOptions) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.cert_file:
        password = read_secret(tls.password_file) if tls.password_file else ""
        context.load_cert_chain(tls.cert_file, tls.key_file or None, password)


def _said(error: Exception, tls: TlsOptions) -> str:
    """Name the files, which errors of OpenSSL do not."""
    files = ", ".join(filter(None, (tls.ca_file, tls.cert_file, tls.key_file)))
    return f"{error} ({files})"


def server_context(tls: TlsOptions) -> ssl.SSLContext:
    """Give the context of connections that we accept; with a ``ca_file`` others must have a certificate.

    Raises OSError and ValueError for files that cannot be used, which name them.
    """
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _load(context, tls)
        if tls.ca_file:
            context.load_verify_locations(tls.ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as error:
        raise ValueError(_said(error, tls)) from None
    return context
