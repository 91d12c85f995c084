"""Presigned S3 URLs, made without a request: Signature Version 4 in the query.

Source: "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)" in the Amazon
S3 API reference. botocore, configured for s3v4 and regional virtual hosts, makes the same URLs,
byte for byte, but its import takes 0.1 s or more in a new Lambda instance, and each URL about
twenty times as long.
"""

import hashlib
import hmac
import re
import time
from collections.abc import Callable
from functools import lru_cache
from urllib.parse import quote, urlsplit

from chalicelib.aws import Credentials
from chalicelib.config import Settings

# "Regions and endpoints": all but the first partition have a domain of their own.
_DOMAINS = {
    "cn-": "amazonaws.com.cn",
    "us-iso-": "c2s.ic.gov",
    "us-isob-": "sc2s.sgov.gov",
    "eu-isoe-": "cloud.adc-e.uk",
    "us-isof-": "csp.hci.ic.gov",
    "eusc-": "amazonaws.eu",
}
# Other buckets, with a dot or named before March 2018, have no name that S3's certificate matches.
_VIRTUAL_HOST = re.compile("[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_UNRESERVED = re.compile("[A-Za-z0-9_.~/-]*")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def window_start(now: float, settings: Settings) -> int:
    """When the current window started, in seconds: all of its URLs are signed for this instant."""
    return int(now) // settings.url_window_seconds * settings.url_window_seconds


def expires_at(signed_at: int, settings: Settings) -> str:
    """When URLs that were signed at this instant expire: ISO 8601, UTC, whole seconds."""
    expires = signed_at + settings.url_expiry_seconds + settings.url_window_seconds
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expires))


@lru_cache(maxsize=2)
def signer(
    settings: Settings, region: str, credentials: Credentials, signed_at: int
) -> Callable[..., str]:
    """A function from an object's key to its presigned GET URL, signed for the instant signed_at.

    The URL is valid for URL_EXPIRY_SECONDS + URL_WINDOW_SECONDS from then, so for at least
    URL_EXPIRY_SECONDS from when it is returned. With download_as, a file name, a browser saves the
    object under that name.
    """
    access_key, secret_key, token = credentials
    base, host, root = _address(settings.job_files_bucket, region, settings.s3_endpoint)
    timestamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(signed_at))
    scope = f"{timestamp[:8]}/{region}/s3/aws4_request"
    signing_key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        signing_key = hmac.digest(signing_key, part.encode(), "sha256")

    parameters = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{access_key}/{scope}",
        "X-Amz-Date": timestamp,
        "X-Amz-Expires": str(settings.url_expiry_seconds + settings.url_window_seconds),
        "X-Amz-SignedHeaders": "host",
    }
    if token:
        parameters["X-Amz-Security-Token"] = token
    pairs = [f"{name}={quote(value, safe='')}" for name, value in parameters.items()]
    query, sorted_query = "&".join(pairs), "&".join(sorted(pairs))
    headers = f"\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
    # Copied for each URL: a new hash takes longer, and a new HMAC from the key twice as long.
    empty_hash = hashlib.sha256()
    started_hmac = hmac.new(
        signing_key, f"AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n".encode(), "sha256"
    )

    def sign(key: str, download_as: str | None = None) -> str:
        first = last = ""
        if download_as is not None:
            # boto3 puts what belongs to the operation first; sorted, it comes last.
            pair = f"response-content-disposition={quote(attachment(download_as), safe='')}"
            first, last = f"{pair}&", f"&{pair}"
        # Most keys need no quoting, and quote() takes a quarter of the time of a URL.
        path = root + (key if _UNRESERVED.fullmatch(key) else quote(key))
        canonical_request = f"GET\n{path}\n{sorted_query}{last}{headers}".encode()
        request_hash, signature = empty_hash.copy(), started_hmac.copy()
        request_hash.update(canonical_request)
        signature.update(request_hash.hexdigest().encode())
        return f"{base}{path}?{first}{query}&X-Amz-Signature={signature.hexdigest()}"

    return sign


def attachment(file_name: str) -> str:
    """The Content-Disposition that saves a file under a name (RFC 6266, RFC 8187)."""
    # Browsers differ in how they read escapes of quotes and backslashes, and %xx.
    fallback = re.sub(r'[^ -~]|["\\%]', "_", file_name)
    return f"attachment; filename=\"{fallback}\"; filename*=UTF-8''{quote(file_name, safe='')}"


def _address(bucket: str, region: str, endpoint: str) -> tuple[str, str, str]:
    """The URL's scheme and authority, the Host header, and the path up to the key."""
    if endpoint:
        parts = urlsplit(endpoint)
        host = parts.netloc.lower().removesuffix(_DEFAULT_PORTS[parts.scheme])
        return f"{parts.scheme}://{parts.netloc}", host, f"{parts.path.rstrip('/')}/{bucket}/"
    domain = next((_DOMAINS[p] for p in _DOMAINS if region.startswith(p)), "amazonaws.com")
    host = f"s3.{region}.{domain}"
    if _VIRTUAL_HOST.fullmatch(bucket):
        return f"https://{bucket}.{host}", f"{bucket}.{host}", "/"
    return f"https://{host}", host, f"/{bucket}/"
