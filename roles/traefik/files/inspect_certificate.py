"""Says for how many days a certificate holds and whether it is for these names alone, or on stderr why a server could
not use it: CERTIFICATE KEY [NAME...].

With Python's own library alone: not every host has openssl, or the package cryptography.
"""

import ipaddress
import json
import ssl
import sys
import time


def normal(name: str) -> str:
    try:
        return ipaddress.ip_address(name.strip()).compressed
    except ValueError:
        return name.lower()


certificate, key, *wanted = sys.argv[1:]
try:
    # An encrypted key would ask for its password; an empty one is never right.
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: "")
    # The one way that the library has to read a file's certificate without a connection.
    found = ssl._ssl._test_decode_cert(certificate)
except ssl.SSLError as error:
    mismatch = "KEY_VALUES_MISMATCH" in (error.reason or "")
    sys.exit("they do not belong together" if mismatch else "they are not PEM files of a certificate and its plain key")
except OSError as error:
    sys.exit(f"can't be read: {error.strerror}")
begin, end = (ssl.cert_time_to_seconds(found[name]) for name in ("notBefore", "notAfter"))
if not begin <= time.time() < end:
    sys.exit(f"the certificate is valid from {found['notBefore']} to {found['notAfter']} only")
names = {normal(name) for _, name in found.get("subjectAltName", ())}
print(json.dumps({"days_left": (end - time.time()) // 86400, "same_names": names == set(map(normal, wanted))}))
