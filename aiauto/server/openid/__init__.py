"""Log-in by OpenID Connect: people come by the issuer of their organization, if one is configured.

`settings` and `admission` say by whom and who; `flows` binds a log-in to the browser that began it;
`issuer` asks the issuer who somebody is, by `documents` and `id_tokens`; `identities` knows which
user that is. Only `id_tokens` needs the extra ``aiauto-client[oidc]``.
"""
