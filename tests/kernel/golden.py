"""Messages as bytes, each with the nft command it stands for.

The unit tests compare what we write with these; the kernel tests send them and compare with what nft makes of the
command. Little-endian machines only, as nearly all are: the headers are in the machine's byte order.
"""

from __future__ import annotations

from guard.wire.ipset import Command
from guard.wire.ipset import EntryWriter as IpsetWriter
from guard.wire.nfnetlink import ACK, CREATE, EXCLUSIVE, REQUEST, ElementWriter, Kind, Message


def _bytes(text):
    return bytes.fromhex("".join(line.partition("#")[0] for line in text.splitlines()))


V4, V6 = ElementWriter("astguard", "all4_32", 4), ElementWriter("astguard", "all6_64", 16)
HOST, OTHER = bytes((198, 51, 100, 7)), bytes((198, 51, 100, 8))
NET6 = bytes.fromhex("20010db8000500000000000000000000")

_TO_ALL4_32 = """
    01 00 0000                                  # nfgenmsg: inet, version 0
    0d00 0100 6173746775617264 00 000000        # NFTA_SET_ELEM_LIST_TABLE "astguard"
    0c00 0200 616c6c345f333200                  # NFTA_SET_ELEM_LIST_SET "all4_32"
"""
_TO_ALL6_64 = """
    01 00 0000
    0d00 0100 6173746775617264 00 000000
    0c00 0200 616c6c365f363400                  # "all6_64"
"""

MESSAGES = {
    "create element inet astguard all4_32 { 198.51.100.7 timeout 1h }": (
        V4.messages(Kind.NEW_ELEMENT, CREATE | EXCLUSIVE, V4.timed([(HOST, 3_600_000)])),
        Message(
            12,
            0x600,
            _bytes(
                _TO_ALL4_32
                + """
    2000 0380                                   # NFTA_SET_ELEM_LIST_ELEMENTS, nested
      1c00 0180                                 # NFTA_LIST_ELEM, nested
        0c00 0180 0800 0100 c6336407            # NFTA_SET_ELEM_KEY { NFTA_DATA_VALUE 198.51.100.7 }
        0c00 0400 000000000036ee80              # NFTA_SET_ELEM_TIMEOUT 3,600,000 ms, big-endian
    """
            ),
        ),
    ),
    "add element inet astguard all4_32 { 198.51.100.7 timeout 30d, 198.51.100.8 timeout 1ms }": (
        V4.messages(Kind.NEW_ELEMENT, CREATE, V4.timed([(HOST, 2_592_000_000), (OTHER, 1)])),
        Message(
            12,
            0x400,
            _bytes(
                _TO_ALL4_32
                + """
    3c00 0380
      1c00 0180 0c00 0180 0800 0100 c6336407 0c00 0400 000000009a7ec800
      1c00 0180 0c00 0180 0800 0100 c6336408 0c00 0400 0000000000000001
    """
            ),
        ),
    ),
    "add element inet astguard all6_64 { 2001:db8:5:: timeout 10m }": (
        V6.messages(Kind.NEW_ELEMENT, CREATE, V6.timed([(NET6, 600_000)])),
        Message(
            12,
            0x400,
            _bytes(
                _TO_ALL6_64
                + """
    2c00 0380
      2800 0180
        1800 0180 1400 0100 20010db8000500000000000000000000
        0c00 0400 00000000000927c0
    """
            ),
        ),
    ),
    "delete element inet astguard all4_32 { 198.51.100.8 }": (
        V4.messages(Kind.DEL_ELEMENT, 0, V4.bare([OTHER])),
        Message(
            14,
            0,
            _bytes(
                _TO_ALL4_32
                + """
    1400 0380
      1000 0180
        0c00 0180 0800 0100 c6336408
    """
            ),
        ),
    ),
}

# The third command above, alone in a transaction that starts at number 7.
TRANSACTION = _bytes(
    """
    14000000 1000 0100 07000000 00000000  00 00 000a    # NFNL_MSG_BATCH_BEGIN, for subsystem 10
    5c000000 0c0a 0504 08000000 00000000                # NFT_MSG_NEWSETELEM: CREATE, ACK, REQUEST
    01 00 0000 0d00 0100 6173746775617264 00 000000 0c00 0200 616c6c365f363400
    2c00 0380 2800 0180 1800 0180 1400 0100 20010db8000500000000000000000000 0c00 0400 00000000000927c0
    14000000 1100 0100 09000000 00000000  00 00 000a    # NFNL_MSG_BATCH_END
    """
)
assert ACK | REQUEST | CREATE == 0x405

_DELETED_ELEMENT = """
    5c000000 0e0a 0000 00000000 eb430000        # length, NFT_MSG_DELSETELEM, flags, sequence 0, port of nft's socket
    01 00 0004                                  # nfgenmsg: inet, version 0, generation 4
    0d00 0100 6173746775617264 00 000000        # "astguard"
    0c00 0200 616c6c345f333200                  # "all4_32"
    2c00 0300 2800 0100                         # the list, an element
      0c00 0100 0800 0100 c6336407              # 198.51.100.7
      0c00 0400 000000000036ee80                # timeout 3600 s
      0c00 0500 000000000036ee78                # expires in 3599.992 s
"""
_GENERATION = """
    2c000000 0f0a 0000 01000000 eb430000        # NFT_MSG_NEWGEN
    00 00 0004
    0800 0100 00000004
    0800 0200 000043eb                          # NFTA_GEN_PROC_PID
    0800 0300 6e667400                          # NFTA_GEN_PROC_NAME "nft"
"""
_DORMANT = """
    40000000 000a 0000 01000000 eb430000        # NFT_MSG_NEWTABLE
    01 00 0004
    0d00 0100 6173746775617264 00 000000
    0800 0300 0000000b                          # NFTA_TABLE_USE
    0c00 0400 0000000000000001                  # NFTA_TABLE_HANDLE
    0800 0200 00000001                          # NFTA_TABLE_FLAGS: dormant
"""
_DELETED_TABLE = """
    38000000 020a 0000 01000000 eb430000        # NFT_MSG_DELTABLE
    01 00 0004
    0d00 0100 6173746775617264 00 000000
    0800 0300 00000000
    0c00 0400 0000000000000001
"""
_NFT = "nft, pid 17387"

# What the kernel's monitor told of commands by nft 1.0.6 on Linux 6.18; what it says: shape, elements, by whom.
MONITORED = {
    "delete element inet astguard all4_32 { 198.51.100.7 }": (
        [_bytes(_DELETED_ELEMENT), _bytes(_GENERATION)],
        (False, {("all4_32", HOST): -1}, _NFT),
    ),
    "add table inet astguard { flags dormant; }": ([_bytes(_DORMANT), _bytes(_GENERATION)], (True, {}, _NFT)),
    "delete table inet astguard": ([_bytes(_DELETED_TABLE), _bytes(_GENERATION)], (True, {}, _NFT)),
}

# The bytes that `ipset` 7.17 sends (strace), without the line number 0 that it puts behind every element.
IPV4, IPV6, PORTS, ALLOW = (
    IpsetWriter(name, size)
    for name, size in (("astguard_all4_32", 4), ("astguard_all6_64", 16), ("astguard_ports", 4), ("astguard_allow4", 4))
)
_PROTOCOL = """
    02 00 0000                                  # nfgenmsg: AF_INET, version 0
    0500 0100 07 000000                         # IPSET_ATTR_PROTOCOL 7
"""
_IPSET4 = _PROTOCOL + "1500 0200 61737467756172645f616c6c345f3332 00 000000    # IPSET_ATTR_SETNAME astguard_all4_32"
_IPSET6 = _PROTOCOL + "1500 0200 61737467756172645f616c6c365f3634 00 000000    # astguard_all6_64"

IPSET_MESSAGES = {
    "add astguard_all4_32 198.51.100.7 timeout 3600": (
        IPV4.messages(Command.ADD, IPV4.timed([(HOST, 3600)])),
        Message(
            9,
            0,
            _bytes(
                _IPSET4
                + """
    1800 0780                                   # IPSET_ATTR_DATA, nested
      0c00 0180 0800 0140 c6336407              # IPSET_ATTR_IP { IPSET_ATTR_IPADDR_IPV4, in network order }
      0800 0640 00000e10                        # IPSET_ATTR_TIMEOUT 3,600 s
    """
            ),
        ),
    ),
    "add astguard_all6_64 2001:db8:5:: timeout 600; add astguard_all6_64 2001:db8:6:: timeout 2147483": (
        IPV6.messages(Command.ADD, IPV6.timed([(NET6, 600), (NET6[:5] + b"\6" + NET6[6:], 10**9)])),
        Message(
            9,
            0,
            _bytes(
                _IPSET6
                + """
    0800 0940 00000000                          # IPSET_ATTR_LINENO, which a list has to have
    4c00 0880                                   # IPSET_ATTR_ADT
      2400 0780 1800 0180 1400 0240 20010db8000500000000000000000000 0800 0640 00000258
      2400 0780 1800 0180 1400 0240 20010db8000600000000000000000000 0800 0640 0020c49b
    """
            ),
        ),
    ),
    "del astguard_all4_32 198.51.100.8": (
        IPV4.messages(Command.DELETE, IPV4.bare([OTHER])),
        Message(10, 0, _bytes(_IPSET4 + "\n 1000 0780 0c00 0180 0800 0140 c6336408")),
    ),
    "add astguard_allow4 192.0.2.0/24": (
        ALLOW.messages(Command.ADD, ALLOW.networks([(bytes((192, 0, 2, 0)), 24)])),
        Message(
            9,
            0,
            _bytes(
                _PROTOCOL
                + """
    1400 0200 61737467756172645f616c6c6f7734 00
    1800 0780 0c00 0180 0800 0140 c0000200 0500 0300 18 000000    # IPSET_ATTR_CIDR 24
    """
            ),
        ),
    ),
    "add astguard_ports 5060": (
        PORTS.messages(Command.ADD, PORTS.ports([5060])),
        Message(
            9,
            0,
            _bytes(
                _PROTOCOL
                + """
    1300 0200 61737467756172645f706f727473 00 00
    0c00 0780 0600 0440 13c4 0000               # IPSET_ATTR_PORT
    """
            ),
        ),
    ),
}
