"""The server's own few pages: small, and complete without a single further request."""

from __future__ import annotations

import base64
import hashlib
import html
from importlib import resources
from string import Template
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from aiohttp import web

if TYPE_CHECKING:
    from aiauto.server.web.words import Words

ISSUER_PATH = "/login/openid"
"""Where browsers go that log in by an issuer."""

_FOLDER = resources.files("aiauto.server.web")
_PAGE = Template((_FOLDER / "page.html").read_text(encoding="utf-8"))
_STYLE = (_FOLDER / "page.css").read_text(encoding="utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    # The style by its hash, forms to ourselves, and nothing else at all.
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cache-Control": "no-store",
    "Vary": "Accept-Language",
}

_LOG_IN = Template("""
$notice
$hint
$issuer
<form method="post" action="/login">
<input type="hidden" name="next" value="$target">
<label for="token">$label</label>
<input id="token" name="token" type="password" autocomplete="current-password" required$autofocus>
<button>$log_in</button>
</form>
<p>$below</p>
""")
_CONFIRM = Template("""
<p>$explanation</p>
<form method="post" action="/login">
<input type="hidden" name="next" value="$target">
<input type="hidden" name="key" value="$key">
<button autofocus>$go_on</button>
</form>
""")
_NOTHING_YET = Template("""
<p>$before</p>
<pre><code>import aiauto

ac = aiauto.AIAutoController()
study = ac.create_study("my-study", direction="minimize")</code></pre>
<p>$after</p>
""")


def log_in(
    words: Words,
    *,
    target: str,
    notice: str = "",
    link_logs_in: bool,
    issuer: str | None = None,
    status: int = 401,
) -> web.Response:
    """The page that says how to log in.

    Args:
        words: The language.
        target: Where to go afterwards: a path on this server.
        notice: What went wrong, as text.
        link_logs_in: Whether the server gives out links that log in.
        issuer: Name of the issuer by which people log in, if there is one.
        status: HTTP status of the answer.
    """
    body = _LOG_IN.substitute(
        notice=f'<p class="notice" role="alert">{html.escape(notice)}</p>' if notice else "",
        hint=f"<p>{words.link_hint}</p>" if link_logs_in else "",
        issuer="" if issuer is None else _by_issuer(words, issuer, target),
        # Who comes by an issuer has no use for the field.
        autofocus=" autofocus" if issuer is None else "",
        target=html.escape(target),
        label=words.label,
        log_in=words.log_in,
        below=words.below,
    )
    return _respond(words, words.log_in, body, status)


def confirm(words: Words, *, name: str, key: str, target: str) -> web.Response:
    """The page that asks whether a browser shall be logged in by a link on another site's page.

    Args:
        words: The language.
        name: Whom the link logs in.
        key: The key that it carries.
        target: Where to go afterwards: a path on this server.
    """
    body = _CONFIRM.substitute(
        explanation=html.escape(words.led_here.format(name=name)),
        target=html.escape(target),
        key=html.escape(key),
        go_on=html.escape(words.log_in_as.format(name=name)),
    )
    return _respond(words, words.log_in, body, 200)


def _by_issuer(words: Words, issuer: str, target: str) -> str:
    address = html.escape(f"{ISSUER_PATH}?{urlencode({'next': target})}")
    text = html.escape(words.continue_with.format(issuer=issuer))
    return f'<p><a class="button" href="{address}">{text}</a></p>'


def nothing_yet(words: Words) -> web.Response:
    """The page for a user who has no workspace yet."""
    body = _NOTHING_YET.substitute(before=words.nothing_yet_before, after=words.nothing_yet_after)
    return _respond(words, words.nothing_yet, body, 404)


def _respond(words: Words, title: str, body: str, status: int) -> web.Response:
    text = _PAGE.substitute(language=words.language, title=title, style=_STYLE, body=body)
    return web.Response(text=text, content_type="text/html", status=status, headers=_HEADERS)
