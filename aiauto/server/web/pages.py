"""The server's own few pages: small, and complete without a single further request."""

from __future__ import annotations

import base64
import hashlib
import html
from importlib import resources
from string import Template

from aiohttp import web

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
}

_LINK_HINT = """
<p>The quickest way in is the link that your program shows: <code>dashboard_url</code> in
<code>study.get_status()</code>, or the one that <code>aiauto serve</code> printed when it started.
It logs you in.</p>
"""
_LOG_IN = Template("""
$notice
$hint
<form method="post" action="/login">
<input type="hidden" name="next" value="$target">
<label for="token">Or log in with your token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button>Log in</button>
</form>
<p>It begins with <code>aiauto_</code>: the one that your scripts use. <code>aiauto serve</code>
prints it, and an embedded server keeps it in the file <code>token</code> of its data folder.</p>
""")
_NOTHING_YET = """
<p>Your workspace is made when a script of yours first connects, and this page shows it from then
on:</p>
<pre><code>import aiauto

ac = aiauto.AIAutoController()
study = ac.create_study("my-study", direction="minimize")</code></pre>
<p>Reload this page afterwards.</p>
"""


def log_in(*, target: str, notice: str = "", link_logs_in: bool, status: int = 401) -> web.Response:
    """The page that says how to log in.

    Args:
        target: Where to go afterwards: a path on this server.
        notice: What went wrong, as text.
        link_logs_in: Whether the server gives out links that log in.
        status: HTTP status of the answer.
    """
    body = _LOG_IN.substitute(
        notice=f'<p class="notice" role="alert">{html.escape(notice)}</p>' if notice else "",
        hint=_LINK_HINT if link_logs_in else "",
        target=html.escape(target),
    )
    return _respond("Log in", body, status)


def nothing_yet() -> web.Response:
    """The page for a user who has no workspace yet."""
    return _respond("No studies yet", _NOTHING_YET, 404)


def _respond(title: str, body: str, status: int) -> web.Response:
    text = _PAGE.substitute(title=title, style=_STYLE, body=body)
    return web.Response(text=text, content_type="text/html", status=status, headers=_HEADERS)
