"""Knows what Chrystoki.conf looks like right after each generation of the client was installed.

Our own texts, in the shape of the public samples: spacing, order and quirks differ by generation as they do there. Each
is followed by a section of somebody else's, with a comment, so that a tool or an agent that loses either is found out.
"""

from __future__ import annotations

from collections.abc import Mapping

_FOREIGN = """Site = {
   # kept by the site's own scripts
   Rack = b12;
   Contact = hsm team, room 5;
}
"""
_5_1 = """Chrystoki2={
 LibUNIX=/usr/lib/libCryptoki2_64.so;
}
Luna={
 DefaultTimeOut=500000;
 PEDTimeout1=100000;
 PEDTimeout2=100000;
 KeypairGenTimeOut=2700000;
 CloningCommandTimeOut=300000;
}
LunaSA Client={
 NetClient=1;
 ReceiveTimeout={timeout};
 SSLConfigFile={prefix}/bin/openssl.cnf;
 ClientPrivKeyFile={prefix}/cert/client/{host}Key.pem;
 ClientCertFile={prefix}/cert/client/{host}.pem;
 ServerCAFile={prefix}/cert/server/CAFile.pem;
}
"""
_5_4 = """Chrystoki2 = {
 LibUNIX = /usr/lib/libCryptoki2.so;
 LibUNIX64 = /usr/lib/libCryptoki2_64.so;
}
Luna = {
 DefaultTimeOut = 500000;
 PEDTimeout1 = 100000;
 PEDTimeout2 = 100000;
 PEDTimeout3 = 10000;
 KeypairGenTimeOut = 2700000;
 CloningCommandTimeOut = 300000;
}
CardReader = {
 RemoteCommand = 1;
}
LunaSA Client = {
 ReceiveTimeout = {timeout};
 SSLConfigFile = {prefix}/bin/openssl.cnf;
 ClientPrivKeyFile = {prefix}/cert/client/ClientNameKey.pem;
 ClientCertFile = {prefix}/cert/client/ClientNameCert.pem;
 ServerCAFile = {prefix}/cert/server/CAFile.pem;
 NetClient = 1;
 HtlDir = {prefix}/htl/;
}
"""
_6_2 = """
Chrystoki2 = {
   LibUNIX = /usr/lib/libCryptoki2.so;
   LibUNIX64 = /usr/lib/libCryptoki2_64.so;
}

Luna = {
  DefaultTimeOut = 500000;
  PEDTimeout1 = 100000;
   PEDTimeout2 = 200000;
   PEDTimeout3 = 10000;
   KeypairGenTimeOut = 2700000;
   CloningCommandTimeOut = 300000;
}

CardReader = {
   RemoteCommand = 1;
   LunaG5Slots = 0;
}

Misc = {
   PE1746Enabled = 0;
}

LunaSA Client = {

   ReceiveTimeout     = {timeout};
   SSLConfigFile      = {prefix}/bin/openssl.cnf;
   ClientPrivKeyFile  = {prefix}/cert/client/{host}Key.pem;
   ClientCertFile     = {prefix}/cert/client/{host}.pem;
}
"""
_7 = """
Chrystoki2 = {
   LibUNIX = /usr/lib/libCryptoki2.so;
   LibUNIX64 = /usr/lib/libCryptoki2_64.so;
}

Luna = {
  DefaultTimeOut = 500000;
  PEDTimeout1 = 100000;
   PEDTimeout2 = 200000;
   PEDTimeout3 = 20000;
   KeypairGenTimeOut = 2700000;
   CloningCommandTimeOut = 300000;
   CommandTimeOutPedSet = 720000;
}

CardReader = {
   RemoteCommand = 1;
   LunaG5Slots = 3;
   LunaG7Slots = 0;
}

Misc = {
   PE1746Enabled = 0;
   ToolsDir = {prefix}/bin;
   PartitionPolicyTemplatePath = {prefix}/data/partition_policy_templates;
   ProtectedAuthenticationPathFlagStatus = 0;
}
LunaSA Client = {
   ReceiveTimeout = {timeout};
   SSLConfigFile = {prefix}/bin/openssl.cnf;
   ClientPrivKeyFile = {prefix}/cert/client/;
   ClientCertFile = {prefix}/cert/client/;
   ServerCAFile = {prefix}/cert/server/CAFile.pem;
   NetClient = 1;
   TCPKeepAlive = 1;
}

Secure Trusted Channel = {
   ClientTokenLib = /usr/lib/libSoftToken.so;
   SoftTokenDir = {prefix}/configData/token;
   ClientIdentitiesDir = {prefix}/data/client_identities;
   PartitionIdentitiesDir = {prefix}/data/partition_identities;
}
"""
_TEXTS: Mapping[str, str] = {"5.1": _5_1, "5.4": _5_4, "6.2": _6_2, "7.3": _7, "10.4": _7, "silent": _7}


def conf_text(generation: str, prefix: str, *, receive_timeout: int) -> str:
    """Give the text for a client below `prefix`; `receive_timeout` in milliseconds (20000 on real ones)."""
    text = _TEXTS[generation] + _FOREIGN
    for name, value in (("prefix", prefix), ("timeout", str(receive_timeout)), ("host", "localhost")):
        text = text.replace(f"{{{name}}}", value)
    return text
