"""Which service of Asterisk can report which event, and which ACL names it can give (docs/asterisk.md).

Read from Asterisk 16 and 22 and seen in recordings of both. AuthMethodNotAllowed, LoadAverageLimit, MemoryLimit and
UnexpectedAddress have no caller in either.
"""

from __future__ import annotations

from guard.core.event import Kind, Service

POSSIBLE: dict[Service, frozenset[Kind]] = {
    Service.PJSIP: frozenset(
        {
            Kind.CHALLENGE_RESPONSE_FAILED,
            Kind.CHALLENGE_SENT,
            Kind.FAILED_ACL,
            Kind.INVALID_ACCOUNT_ID,
            Kind.REQUEST_NOT_SUPPORTED,
            Kind.SUCCESSFUL_AUTH,
            Kind.UNKNOWN_EXTENSION,  # in `messages` only
        }
    ),
    # In `messages` only.
    Service.IAX2: frozenset({Kind.CHALLENGE_RESPONSE_FAILED, Kind.FAILED_ACL, Kind.INVALID_ACCOUNT_ID}),
    Service.SIP: frozenset(
        {
            Kind.CHALLENGE_RESPONSE_FAILED,
            Kind.CHALLENGE_SENT,
            Kind.FAILED_ACL,
            Kind.INVALID_ACCOUNT_ID,
            Kind.INVALID_PASSWORD,
            Kind.INVALID_TRANSPORT,
            Kind.SESSION_LIMIT,
            Kind.SUCCESSFUL_AUTH,
        }
    ),
    Service.AMI: frozenset(
        {
            Kind.CHALLENGE_RESPONSE_FAILED,
            Kind.FAILED_ACL,
            Kind.INVALID_ACCOUNT_ID,
            Kind.INVALID_PASSWORD,
            Kind.REQUEST_BAD_FORMAT,
            Kind.REQUEST_NOT_ALLOWED,
            Kind.SESSION_LIMIT,
            Kind.SUCCESSFUL_AUTH,
        }
    ),
}

ACL_NAMES: dict[Service, frozenset[str]] = {
    Service.PJSIP: frozenset(
        {
            "not_match_endpoint_acl",
            "not_match_endpoint_contact_acl",
            # What follows is raised after authentication, by phones that register too often or against their AOR.
            "registrar_attempt_exceeds_maximum_configured_contacts",
            "registrar_attempt_without_configured_aors",
            "registrar_invalid_contacts_provided",
            "registrar_invalid_uri_in_to_received",
        }
    ),
    Service.SIP: frozenset({"device_must_match_acl", "domain_must_match", "no_extension_match", "peer_not_dynamic"}),
    Service.AMI: frozenset(),
    Service.IAX2: frozenset(),
}
