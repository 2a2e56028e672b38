"""Which service of Asterisk can report which event where, and which ACL names it can give (docs/asterisk.md).

Read from Asterisk 16 and 22 and seen in recordings of both. AuthMethodNotAllowed, LoadAverageLimit, MemoryLimit and
UnexpectedAddress have no caller in either.
"""

from __future__ import annotations

from guard.core.event import Kind, Sensor, Service

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

IN_MESSAGES: dict[Service, frozenset[Kind]] = {
    Service.PJSIP: frozenset(
        {Kind.CHALLENGE_RESPONSE_FAILED, Kind.FAILED_ACL, Kind.INVALID_ACCOUNT_ID, Kind.UNKNOWN_EXTENSION}
    ),
    Service.IAX2: POSSIBLE[Service.IAX2],
    Service.SIP: frozenset(
        {Kind.CHALLENGE_RESPONSE_FAILED, Kind.FAILED_ACL, Kind.INVALID_ACCOUNT_ID, Kind.INVALID_PASSWORD}
    ),
    Service.AMI: frozenset(),  # manager.c writes a stranger's text raw, so its lines are never judged
}
"""What the words of a line of `messages` stand for."""

_ONLY_IN_MESSAGES = frozenset({Kind.UNKNOWN_EXTENSION})

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


def told(service: Service, sensors: frozenset[Sensor] | None) -> frozenset[Kind]:
    """Return the events of a service that these sensors tell of; None is what a rule counts that names no sensor."""
    if sensors is None:
        # Over AMI chan_sip's address is the sender's own word.
        sensors = frozenset({Sensor.MESSAGES}) if service is Service.SIP else frozenset(Sensor)
    written = IN_MESSAGES[service] if Sensor.MESSAGES in sensors else frozenset()
    return written | _reported(service, sensors)


def provable(service: Service, sensors: frozenset[Sensor] | None) -> frozenset[Kind]:
    """Return the events of a service of which these sensors can tell with a proof of the sender's address.

    A line of `messages` names no transport; it is proven if AMI saw its session over a connection, so by PJSIP alone.
    """
    if service in {Service.SIP, Service.IAX2}:
        return frozenset()
    return told(service, sensors) - _ONLY_IN_MESSAGES


def _reported(service: Service, sensors: frozenset[Sensor]) -> frozenset[Kind]:
    """Return what comes as security events; of IAX2 nothing does."""
    if service is Service.IAX2 or sensors <= {Sensor.MESSAGES}:
        return frozenset()
    return POSSIBLE[service] - _ONLY_IN_MESSAGES
