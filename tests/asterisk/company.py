"""The PBX of a small company, as Asterisk's files say it: accounts, trunks, transports, manager users, logs.

100 to 119 are ordinary phones whose password is right-100, right-101 and so on; 2xx are the odd ones, 3xx live on chan_sip.
"""

from __future__ import annotations

AMI_SECRET = "read-only-events"
TRUNK, PROVIDER = "192.0.2.22", "192.0.2.23"
"""A trunk that is known by its address, and a provider the PBX registers with."""

MODULES = """
    res_pjproject res_sorcery_config res_sorcery_memory res_sorcery_astdb res_timing_timerfd
    res_pjsip res_pjsip_session res_pjsip_pubsub res_pjsip_authenticator_digest res_pjsip_endpoint_identifier_user
    res_pjsip_endpoint_identifier_ip res_pjsip_registrar res_pjsip_acl res_pjsip_nat res_pjsip_sdp_rtp
    res_rtp_asterisk res_format_attr_g729 codec_ulaw chan_pjsip bridge_simple pbx_config
"""
MORE_MODULES = """
    res_http_websocket res_pjsip_transport_websocket res_pjsip_endpoint_identifier_anonymous
    res_pjsip_outbound_registration res_pjsip_outbound_authenticator_digest app_echo
"""
EXTENSIONS = """\
[internal]
exten => 600,1,Answer()
 same => n,Echo()
exten => 601,1,Answer()
 same => n,Wait(0.3)
 same => n,Hangup()
[public]
exten => _7XX,1,Answer()
 same => n,Wait(0.3)
 same => n,Hangup()
[nowhere]
exten => nothing,1,Hangup()
"""
TRANSPORTS = f"""
[udp]
type=transport
protocol=udp
bind=0.0.0.0:5060

[tcp]
type=transport
protocol=tcp
bind=0.0.0.0:5060

[udp6]
type=transport
protocol=udp
bind=[::]:5060

[tcp6]
type=transport
protocol=tcp
bind=[::]:5060

[trunk]
type=endpoint
context=public
disallow=all
allow=ulaw

[trunk]
type=identify
endpoint=trunk
match={TRUNK}
"""
ACCOUNT = """
[{name}]
type=endpoint
context=internal
disallow=all
allow=ulaw
rtp_symmetric=yes
force_rport=yes
rewrite_contact=yes
identify_by=auth_username,username
auth={name}
aors={name}
{endpoint}

[{name}]
type=auth
auth_type=userpass
username={name}
password=right-{name}

[{name}]
type=aor
{aor}
"""
ONE = "max_contacts=1\nremove_existing=yes"
SPECIAL = {
    "201": ("deny=0.0.0.0/0\npermit=192.0.2.0/24", ONE),
    "203": ("transport=tcp", ONE),
    "205": ("", "max_contacts=0"),
    "206": ("", "max_contacts=1"),
}
"""Beside 100 to 119, which are ordinary: an account with an ACL, one for TCP, one that may not register, a full one."""

MORE_SPECIAL = {
    "202": ("contact_deny=0.0.0.0/0\ncontact_permit=192.0.2.0/24", ONE),
}
BY_LOGIN = "[global]\ntype=global\nendpoint_identifier_order=auth_username,username,ip\n"
ANONYMOUS = """
[anonymous]
type=endpoint
context=nowhere
disallow=all
allow=ulaw
"""
ISO_TIMES = "[general]\ndateformat=%F %T.%3q\n"

SECURE = """
[{name}{six}]
type=transport
protocol={name}
bind={bind}
cert_file=/lab/keys/localhost.pem
priv_key_file=/lab/keys/localhost.pem
method=tlsv1_2
"""
NO_PLACE = """
[204]
type=endpoint
context=internal
auth=204

[204]
type=auth
auth_type=userpass
username=204
password=right-204

[provider]
type=endpoint
context=public
disallow=all
allow=ulaw

[provider]
type=identify
endpoint=provider
match={provider}

[provider]
type=auth
auth_type=userpass
username=company
password=right-company

[provider]
type=registration
transport=udp
outbound_auth=provider
server_uri=sip:{provider}
client_uri=sip:company@{provider}
retry_interval=2
forbidden_retry_interval=2
fatal_retry_interval=2
max_retries=100000
expiration=60
"""
HTTP = """\
[general]
enabled=yes
bindaddr=::
bindport=8088
tlsenable=yes
tlsbindaddr=[::]:8089
tlscertfile=/lab/keys/localhost.pem
sessionlimit=100
"""
# Reachable from everywhere, as many are; the guard's own user is not. A reader that stalls gets five seconds: the
# default of 100 ms would cut it off in the middle of an event.
MANAGER = (
    """\
[general]
enabled=yes
webenabled=no
port=5038
bindaddr=::
tlsenable=yes
tlsbindaddr=[::]:5039
tlscertfile=/lab/keys/localhost.pem
authtimeout=5
authlimit=50
{general}

[astguard]
secret="""
    + AMI_SECRET
    + """
read={rights}
write=
writetimeout=5000
deny=0.0.0.0/0.0.0.0
deny=::/0
permit=127.0.0.1/255.255.255.255
permit=::1/128

[monitor]
secret=right-monitor
read=security
write=
writetimeout=5000

[single]
secret=right-single
read=security
write=
allowmultiplelogin=no
"""
)
CHAN_SIP = """\
[general]
context=nowhere
allowguest=yes
alwaysauthreject=yes
udpbindaddr=[::]:5070
tcpenable=yes
tcpbindaddr=[::]:5070
tlsenable=yes
tlsbindaddr=[::]:5071
tlscertfile=/lab/keys/localhost.pem
tlsdontverifyserver=yes
transport=udp,tcp,tls
; PJSIP has the WebSocket
websocket_enabled=no

[phone](!)
type=friend
host=dynamic
context=internal
disallow=all
allow=ulaw

[300](phone)
secret=right-300

[301](phone)
secret=right-301

[302](phone)
secret=right-302
deny=0.0.0.0/0.0.0.0
permit=192.0.2.0/255.255.255.0

[303](phone)
secret=right-303
transport=tcp

[305](phone)
secret=right-305
call-limit=1
"""


def accounts(special: dict[str, tuple[str, str]]) -> str:
    """Write pjsip.conf's part about the phones."""
    people = {str(number): ("", ONE) for number in range(100, 120)} | special
    return "".join(ACCOUNT.format(name=name, endpoint=more, aor=aor) for name, (more, aor) in people.items())


def manager(general: str = "", rights: str = "security") -> str:
    """Write manager.conf, with more in its [general], or with other rights for the guard."""
    return MANAGER.format(general=general, rights=rights)


def company(version: str) -> dict[str, str]:
    """Write all files; the log files have the name that the version's own example gives them."""
    secure = "".join(
        SECURE.format(name=name, six=six, bind=bind)
        for name, six, bind in [
            ("tls", "", "0.0.0.0:5061"), ("tls", "6", "[::]:5061"), ("ws", "", "0.0.0.0"), ("wss", "", "0.0.0.0"),
        ]
    )  # fmt: skip
    files = {
        "pjsip.conf": TRANSPORTS + secure + accounts(SPECIAL | MORE_SPECIAL) + NO_PLACE.format(provider=PROVIDER),
        "extensions.conf": EXTENSIONS,
        "http.conf": HTTP,
        "manager.conf": manager(),
        "logger.conf": "[logfiles]\nsecurity.log => security\nmessages.log => notice,warning,error\n",
    }
    if version == "16":
        files["logger.conf"] = ISO_TIMES + "[logfiles]\nsecurity => security\nmessages => notice,warning,error\n"
        files["sip.conf"] = CHAN_SIP
    return files


def modules(version: str) -> str:
    """Name the modules that the files need."""
    return MODULES + MORE_MODULES + (" chan_sip" if version == "16" else "")
