"""Who may come in, by what the issuer says of them."""

from __future__ import annotations

from typing import Any

import pytest

from aiauto.errors import ArgumentValueError
from aiauto.server.openid.admission import Admission, verified_address

ADA: dict[str, Any] = {"sub": "1", "email": "Ada@Example.org", "email_verified": True}


def lets_in(allowed: str, **claims: Any) -> bool:
    return Admission.parse(allowed).lets_in({**ADA, **claims})


@pytest.mark.parametrize(
    "allowed",
    [
        "*",
        "ada@example.org",
        " ADA@example.ORG ",
        "*@example.org",
        "bob@example.org, ada@example.org,",
        "*@elsewhere.org,*@EXAMPLE.org",
    ],
)
def test_who_is_named_may(allowed: str) -> None:
    assert lets_in(allowed)


@pytest.mark.parametrize(
    "allowed",
    [
        "",
        ",",
        "bob@example.org",
        "ada@example.com",
        "*@ample.org",
        "*@org",
        "*@lab.example.org",
        "group=lab",
    ],
)
def test_nobody_else_may(allowed: str) -> None:
    assert not lets_in(allowed)


@pytest.mark.parametrize(
    "email",
    [
        None,
        7,
        ["ada@example.org"],
        "",
        "ada",
        "@example.org",
        "ada@",
        "ada@lab.example.org",
        "ada@example.org.evil.example",
        "ada@evil.example@example.org",
        '"ada@evil.example"@example.org',
        "ada@example.org ",
        "ada@example.org\0",
        "*@example.org",
        # Which is in lower case what it should be.
        "ada@example.or\N{KELVIN SIGN}",
        "a" * 250 + "@example.org",
    ],
)
def test_addresses_that_are_none_of_these(email: Any) -> None:
    for allowed in ("*@example.org", "ada@example.org", "*@example.ork"):
        assert not lets_in(allowed, email=email)


@pytest.mark.parametrize("verified", [None, False, 0, 1, "true", "false", [True]])
def test_addresses_that_nobody_has_verified(verified: Any) -> None:
    claims = {**ADA, "email_verified": verified}
    admission = Admission.parse("*@example.org")
    assert not admission.lets_in(claims)
    assert admission.waits_for_address(claims)
    assert verified_address(claims) == ""
    # Others are let in all the same, and nobody is told to verify what would not help.
    assert Admission.parse("*").lets_in(claims)
    assert not Admission.parse("*@elsewhere.org").waits_for_address(claims)


@pytest.mark.parametrize(
    ("allowed", "claims", "answer"),
    [
        ("groups=lab", {"groups": ["other", "lab"]}, True),
        ("groups=lab", {"groups": "lab"}, True),
        ("groups=lab", {"groups": ["laboratory"]}, False),
        ("groups=lab", {"groups": "laboratory"}, False),
        ("groups=lab", {"groups": {"lab": True}}, False),
        ("groups=lab", {"groups": None}, False),
        ("realm_access.roles=user", {"realm_access": {"roles": ["user"]}}, True),
        ("realm_access.roles=user", {"realm_access": ["user"]}, False),
        ("realm_access.roles=user", {"realm_access": {"roles": {"user": 1}}}, False),
        ("https://lab.example/role=a=b", {"https://lab.example/role": "a=b"}, True),
        ("upn=ada@example.org", {"upn": "ada@example.org"}, True),
        ("level=7", {"level": 7}, False),
    ],
)
def test_claims(allowed: str, claims: dict[str, Any], answer: bool) -> None:  # noqa: FBT001
    assert lets_in(allowed, **claims) == answer


@pytest.mark.parametrize(
    "allowed",
    [
        "ada",
        "@example.org",
        "ada@",
        "*@",
        "**@example.org",
        "a*@example.org",
        "*@*.org",
        "a b@example.org",
        "=lab",
        "groups=",
        # It would be believed though nobody has verified it.
        "email=ada@example.org",
        "email_verified=true",
        "아다@example.org",
    ],
)
def test_what_can_not_be_meant_is_refused(allowed: str) -> None:
    with pytest.raises(ArgumentValueError, match="AIAUTO_OIDC_ALLOWED has the part") as caught:
        Admission.parse(f"*@example.org,{allowed}")
    assert caught.value.argument == "AIAUTO_OIDC_ALLOWED"


def test_what_must_be_known_to_decide() -> None:
    assert Admission.parse("*").is_answered_by({})
    assert not Admission.parse("ada@example.org").is_answered_by({"email": "x"})
    assert Admission.parse("ada@example.org").is_answered_by(ADA)
    roles = Admission.parse("realm_access.roles=user")
    assert not roles.is_answered_by(ADA)
    assert roles.is_answered_by({"realm_access": {}})
    assert roles.is_answered_by({"realm_access.roles": "user"})
