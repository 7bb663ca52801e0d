"""What the pages for logging in say, in the languages of the server's own pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Words:
    """The texts in one language. Those that hold markup are HTML, the others plain text.

    Attributes:
        language: Its code.
        log_in: What is to be done, as a title and on the button.
        link_hint: Where links that log in are found, as HTML.
        label: Label of the field for the token.
        below: Where tokens are found, as HTML.
        wrong_key: That a link does not log in.
        not_valid: That a token is not valid.
        nothing_yet: Title of the page for who has no workspace.
        nothing_yet_before: What to do about it.
        nothing_yet_after: And then.
    """

    language: str
    log_in: str
    link_hint: str
    label: str
    below: str
    wrong_key: str
    not_valid: str
    nothing_yet: str
    nothing_yet_before: str
    nothing_yet_after: str


ENGLISH = Words(
    language="en",
    log_in="Log in",
    link_hint=(
        "The quickest way in is the link that your program shows: <code>dashboard_url</code> in "
        "<code>study.get_status()</code>, or the one that <code>aiauto serve</code> printed when "
        "it started. It logs you in."
    ),
    label="Or log in with your token",
    below=(
        "It begins with <code>aiauto_</code>: the one that your scripts use. <code>aiauto "
        "serve</code> prints it, and an embedded server keeps it in the file <code>token</code> of "
        "its data folder."
    ),
    wrong_key=(
        "This link does not log in any more: it comes from another server, or is not complete. "
        "Get a new one, or use your token."
    ),
    not_valid=("This token is not valid here: check that it is complete, or use another one."),
    nothing_yet="No studies yet",
    nothing_yet_before=(
        "Your workspace is made when a script of yours first connects, and this page shows it from "
        "then on:"
    ),
    nothing_yet_after="Reload this page afterwards.",
)
KOREAN = Words(
    language="ko",
    log_in="로그인",
    link_hint=(
        "가장 빠른 방법은 프로그램이 보여 주는 링크입니다. <code>study.get_status()</code>의 "
        "<code>dashboard_url</code>이나 <code>aiauto serve</code>가 시작할 때 출력한 링크를 열면 "
        "바로 로그인됩니다."
    ),
    label="또는 토큰으로 로그인",
    below=(
        "토큰은 <code>aiauto_</code>로 시작하며 스크립트에서 쓰는 것과 같습니다. <code>aiauto "
        "serve</code>가 출력하고, 내장 서버는 데이터 폴더의 <code>token</code> 파일에 보관합니다."
    ),
    wrong_key=(
        "이 링크로는 더 이상 로그인할 수 없습니다. 다른 서버의 링크이거나 일부가 빠졌습니다. 새 "
        "링크를 받거나 토큰을 사용하세요."
    ),
    not_valid=(
        "여기서는 유효하지 않은 토큰입니다. 빠진 글자가 없는지 확인하거나 다른 토큰을 사용하세요."
    ),
    nothing_yet="아직 study가 없습니다",
    nothing_yet_before=(
        "워크스페이스는 스크립트가 처음 접속할 때 만들어지고, 그때부터 이 페이지에 나타납니다:"
    ),
    nothing_yet_after="그다음 이 페이지를 새로 고치세요.",
)
_BY_LANGUAGE: Mapping[str, Words] = {words.language: words for words in (ENGLISH, KOREAN)}


def words_for(accept_language: str) -> Words:
    """The texts in the language that a browser prefers.

    Args:
        accept_language: Its header `Accept-Language`, whose languages come in the order of
            preference.
    """
    for part in accept_language.split(","):
        language = part.partition(";")[0].partition("-")[0].strip().lower()
        if (words := _BY_LANGUAGE.get(language)) is not None:
            return words
    return ENGLISH
