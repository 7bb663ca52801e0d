"""What the pages for logging in say, in the languages of the server's own pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiauto.server.openid.refusals import Reason

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
        led_here: That a link on a page of another site logs in as ``{name}``, and what that means.
        log_in_as: On the button that does it.
        not_valid: That a token is not valid.
        not_a_form: That what was sent did not come from the form.
        continue_with: On the button that leads to ``{issuer}``.
        openid_refusals: Why somebody does not come in by ``{issuer}``, which knows them as
            ``{subject}``, and what to do.
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
    led_here: str
    log_in_as: str
    not_valid: str
    not_a_form: str
    continue_with: str
    openid_refusals: Mapping[Reason, str]
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
    led_here=(
        "A page of another site led you here, by a link that logs in as {name}. If you are {name}, "
        "and have just followed that link yourself, go on. If not, close this page: whatever you "
        "did here would be {name}'s to see."
    ),
    log_in_as="Log in as {name}",
    not_valid=("This token is not valid here: check that it is complete, or use another one."),
    not_a_form=(
        "This server could not read what was sent. Log in with the form on this page; a program "
        "sends its token in the header Authorization."
    ),
    continue_with="Continue with {issuer}",
    openid_refusals={
        Reason.UNREACHABLE: (
            "{issuer} can't be reached at the moment, so it can't say who you are. Try again in a "
            "while, or log in with your token."
        ),
        Reason.NOT_TRUSTED: (
            "{issuer} has answered what this server can't trust, so you are not logged in. Try "
            "again; if it stays so, tell whoever runs this server: its log says what was wrong."
        ),
        Reason.STALE: (
            "This log-in was not begun in this browser, was begun too long ago, or has come to its "
            "end already. Begin again here."
        ),
        Reason.DENIED: "{issuer} did not log you in. Try again, or ask whoever runs {issuer}.",
        Reason.NOT_ALLOWED: (
            "{issuer} knows you, but this server is not open to you. Ask its admin to let you in, "
            "and tell them who you are there: {subject}"
        ),
        Reason.NOT_VERIFIED: (
            "{issuer} has not verified your e-mail address, so this server can't go by it. Have it "
            "verified there, then log in again."
        ),
        Reason.DISABLED: "Your user on this server is disabled. Its admin can enable it again.",
        Reason.REMOVED: (
            "Your user on this server was deleted. Its admin can let you in again: tell them who "
            "you are at {issuer}: {subject}"
        ),
        Reason.ONE_USER: (
            "This server is for one user. If that is you, link yourself to it; else ask whoever "
            "runs it. You are known at {issuer} as: {subject}"
        ),
        Reason.FULL: "This server has as many users as it may have. Tell its admin.",
    },
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
    led_here=(
        "다른 사이트의 페이지에 있는 링크가 {name} 사용자로 로그인하려고 합니다. 본인이 {name}이고 "
        "직접 그 링크를 눌렀다면 계속하세요. 아니라면 이 페이지를 닫으세요. 여기서 하는 일이 모두 "
        "{name} 사용자에게 보이게 됩니다."
    ),
    log_in_as="{name} 사용자로 로그인",
    not_valid=(
        "여기서는 유효하지 않은 토큰입니다. 빠진 글자가 없는지 확인하거나 다른 토큰을 사용하세요."
    ),
    not_a_form=(
        "보낸 내용을 읽을 수 없습니다. 이 페이지의 양식으로 로그인하세요. 프로그램은 토큰을 "
        "Authorization 헤더에 담아 보내야 합니다."
    ),
    continue_with="{issuer} 계정으로 계속하기",
    openid_refusals={
        Reason.UNREACHABLE: (
            "지금은 {issuer}에 연결할 수 없어 누구인지 확인하지 못했습니다. 잠시 후 다시 "
            "시도하거나 토큰으로 로그인하세요."
        ),
        Reason.NOT_TRUSTED: (
            "{issuer}에서 받은 응답을 신뢰할 수 없어 로그인하지 않았습니다. 다시 시도해 보고 같은 "
            "일이 반복되면 서버를 운영하는 사람에게 알려 주세요. 원인은 서버 로그에 있습니다."
        ),
        Reason.STALE: (
            "이 로그인은 이 브라우저에서 시작하지 않았거나, 시작한 지 너무 오래되었거나, 이미 "
            "끝났습니다. 여기서 다시 시작하세요."
        ),
        Reason.DENIED: (
            "{issuer}에서 로그인되지 않았습니다. 다시 시도하거나 {issuer} 관리자에게 문의하세요."
        ),
        Reason.NOT_ALLOWED: (
            "{issuer}에서 확인되었지만 이 서버의 이용은 아직 허용되지 않았습니다. 서버 관리자에게 "
            "허용을 요청하고 다음 식별자를 알려 주세요: {subject}"
        ),
        Reason.NOT_VERIFIED: (
            "{issuer}에서 이메일 주소가 인증되지 않아 이 서버가 믿을 수 없습니다. 그곳에서 "
            "이메일을 인증한 뒤 다시 로그인하세요."
        ),
        Reason.DISABLED: (
            "이 서버의 사용자가 사용 중지되었습니다. 서버 관리자가 다시 풀어 줄 수 있습니다."
        ),
        Reason.REMOVED: (
            "이 서버의 사용자가 삭제되었습니다. 서버 관리자가 다시 허용할 수 있습니다. {issuer}의 "
            "다음 식별자를 알려 주세요: {subject}"
        ),
        Reason.ONE_USER: (
            "이 서버는 한 사용자만 씁니다. 본인의 서버라면 자신의 사용자에 연결하고, 아니면 서버를 "
            "운영하는 사람에게 문의하세요. {issuer}의 식별자: {subject}"
        ),
        Reason.FULL: "이 서버의 사용자 수가 한도에 이르렀습니다. 서버 관리자에게 알려 주세요.",
    },
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
