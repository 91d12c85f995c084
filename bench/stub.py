"""DynamoDB and S3 as both sides of the comparison see them: quick, in memory, TLS on 127.0.0.1.

`python -m bench.stub LATENCY_SECONDS FOLDER` prints its URL, then serves until it is terminated,
with the certificates of make_certificates(FOLDER). It holds the jobs and the objects below. Lists
come in pages, of 1 MB (DynamoDB) and 1,000 keys (S3); what is deleted is gone from the next list.
GET /used returns the numbers of requests and connections, its own too, and the read units since
the last one; GET /close does, and closes all other connections.
"""

import asyncio
import json
import math
import re
import ssl
import sys
import uuid
import zlib
from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import botocore
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

Item = dict[str, dict[str, Any]]

FILES, JOBS, WIDE_JOBS, WIDE_BYTES, OBJECTS = 1_000, 10_000, 1_000, 20_480, 3_000
PAGE_BYTES, PAGE_KEYS = 1_048_576, 1_000
WIDE_JOBS_USER = "b0b00000-0000-4000-8000-000000000002"
IN_INDEX = {"userId", "jobId", "date", "jobName", "contentLength", "creditsSpent", "status"}


def user(number: int) -> str:
    """The user of so many jobs, each with so many objects; their job N has N files in its item."""
    return f"a11ce000-0000-4000-8000-{number:012}"


def job(user_id: str, job_id: int, files: int) -> Item:
    """A finished job's item, as DynamoDB's JSON has it."""
    names = [f"{uuid.uuid5(uuid.NAMESPACE_URL, f'{job_id}/{file}')}.png" for file in range(files)]
    seconds = f"{job_id // 3600 % 24:02}:{job_id // 60 % 60:02}:{job_id % 60:02}"
    return {
        "userId": {"S": user_id},
        "jobId": {"N": str(job_id)},
        "jobName": {"S": f"Scans of box {job_id}"},
        "filesPath": {"S": f"{user_id}/{job_id}/"},
        "date": {"S": f"2026-01-01 {seconds}.{job_id:09} UTC"},
        "contentLength": {"N": str(job_id * 1234)},
        "creditsSpent": {"N": f"{job_id / 2:g}"},
        "email": {"S": "alice@example.com"},
        "objectUuidNames": {"M": {name: {"S": f"scan {i:04}.png"} for i, name in enumerate(names)}},
        "mediaLength": {"M": {name: {"N": "1"} for name in names}},
        "failedToProcess": {"M": {}},
        "status": {"S": "success"},
    }


def item_bytes(item: Item) -> int:
    """An item's size by "DynamoDB item sizes and formats" of the developer guide."""

    def value_bytes(value: dict[str, Any]) -> int:
        [(kind, content)] = value.items()
        if kind == "N":
            # One byte for each two significant digits, and one more.
            return math.ceil(len(content.replace(".", "").strip("0")) / 2) + 1
        if kind == "M":
            return 3 + len(content) + item_bytes(content)
        return len(content.encode())

    return sum(len(name.encode()) + value_bytes(value) for name, value in item.items())


@cache
def jobs(user_id: str) -> list[Item]:
    """All jobs of a user, newest first."""
    if user_id == WIDE_JOBS_USER:
        items = [job(user_id, number, files=1) for number in range(WIDE_JOBS, 0, -1)]
        for item in items:
            item["padding"] = {"S": ""}
            item["padding"] = {"S": "x" * (WIDE_BYTES - item_bytes(item))}
        return items
    return [job(user_id, number, files=2) for number in range(int(user_id[-12:]), 0, -1)]


@cache
def page(user_id: str, index: bool, shown: frozenset[str], start: int) -> tuple[bytes, int]:
    """A page of a user's jobs from a position on: the response, and the bytes that it reads.

    A query of an index reads the projected attributes only; a query of the table, whole items.
    """
    items: list[Item] = []
    read = 0
    response: dict[str, Any] = {"Items": items}
    for item in jobs(user_id)[start:]:
        held = {k: v for k, v in item.items() if k in IN_INDEX} if index else item
        if read + item_bytes(held) > PAGE_BYTES:
            last = items[-1]
            response["LastEvaluatedKey"] = {"userId": {"S": user_id}} | {
                name: last[name] for name in ("jobId", "date")
            }
            break
        items.append({name: value for name, value in held.items() if name in shown})
        read += item_bytes(held)
    response |= {"Count": len(items), "ScannedCount": len(items)}
    return json.dumps(response, separators=(",", ":")).encode(), read


@cache
def found(user_id: str, job_id: int) -> tuple[bytes, int]:
    """The response to a GetItem, and the bytes that it reads."""
    item = job(user_id, job_id, files=job_id)
    return json.dumps({"Item": item}, separators=(",", ":")).encode(), item_bytes(item)


def make_certificates(folder: Path) -> None:
    """A chain of RSA keys like AWS's: chain.pem for the stub, bundle.pem for its clients.

    The bundle is botocore's own, of all authorities, with the root of this chain below them.
    """
    chain: list[bytes] = []
    issuer = x509.Name([])
    signer = None
    for name in ("root", "intermediate", "127.0.0.1"):
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"bench {name}")])
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        is_authority, now = name != "127.0.0.1", datetime.now(UTC)
        builder = (
            x509.CertificateBuilder(issuer if signer else subject, subject, key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        )
        if not is_authority:
            address = x509.IPAddress(ip_address(name))
            builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        certificate = builder.sign(signer or key, hashes.SHA256())
        chain.insert(0, certificate.public_bytes(serialization.Encoding.PEM))
        issuer, signer = subject, key
    private_key = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    *sent, root = chain
    (folder / "chain.pem").write_bytes(private_key + b"".join(sent))
    authorities = Path(botocore.__file__).parent / "cacert.pem"
    (folder / "bundle.pem").write_bytes(authorities.read_bytes() + root)


class Stub:
    """The responses, each to one request."""

    def __init__(self) -> None:
        self.used = {"requests": 0, "connections": 0, "read_units": 0.0}
        self.open: set[asyncio.Transport] = set()
        self.objects: dict[str, tuple[list[str], set[str]]] = {}

    def dynamodb(self, operation: str, request: dict[str, Any]) -> bytes:
        """GetItem, DeleteItem, Query."""
        if operation == "DeleteItem":
            return b"{}"
        if operation == "GetItem":
            response, read = found(request["Key"]["userId"]["S"], int(request["Key"]["jobId"]["N"]))
        else:
            [user_id] = (value["S"] for value in request["ExpressionAttributeValues"].values())
            names = request["ExpressionAttributeNames"]
            shown = request["ProjectionExpression"].replace(" ", "").split(",")
            shown = frozenset(names.get(name, name) for name in shown)
            after = request.get("ExclusiveStartKey")
            start = len(jobs(user_id)) + 1 - int(after["jobId"]["N"]) if after else 0
            response, read = page(user_id, "IndexName" in request, shown, start)
        # "DynamoDB read and write operations", capacity unit consumption: a query's items count
        # as one read, rounded up to 4 KB; one unit each, half of one if eventually consistent.
        units = math.ceil(read / 4096)
        self.used["read_units"] += units if request.get("ConsistentRead") else units / 2
        return response

    def s3(self, method: str, query: dict[str, list[str]], body: str) -> bytes:
        """ListObjects, ListObjectVersions, ListMultipartUploads, DeleteObjects."""
        if method == "POST":
            return self.delete_objects(re.findall("<Key>(.*?)</Key>", body), "<Quiet>true" in body)
        prefix = query["prefix"][0]
        if "uploads" in query:
            result = "ListMultipartUploadsResult"
            return f"<{result}><IsTruncated>false</IsTruncated></{result}>".encode()
        after = query.get("key-marker", query.get("marker", [""]))[0]
        keys, left = self.below(prefix)
        later = (key for key in keys[bisect_right(keys, after) :] if key in left)
        page = list(islice(later, PAGE_KEYS))
        more = next(later, None) is not None
        common = (
            "<LastModified>2026-01-01T12:00:00.000Z</LastModified>"
            "<ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag><Size>1024</Size>"
            "<StorageClass>STANDARD</StorageClass>"
            "<Owner><ID>75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a</ID></Owner>"
        )
        if "versions" in query:
            result, entry = "ListVersionsResult", "Version"
            common += "<VersionId>3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrH</VersionId>"
            common += "<IsLatest>true</IsLatest>"
            names = ["NextKeyMarker", "NextVersionIdMarker"]
        else:
            result, entry, names = "ListBucketResult", "Contents", ["NextMarker"]
        entries = "".join(f"<{entry}><Key>{quote(key)}</Key>{common}</{entry}>" for key in page)
        markers = "".join(f"<{name}>{page[-1]}</{name}>" for name in names) if more else ""
        return (
            f"<{result}><Name>job-files</Name><Prefix>{prefix}</Prefix><MaxKeys>1000</MaxKeys>"
            f"<EncodingType>url</EncodingType><IsTruncated>{str(more).lower()}</IsTruncated>"
            f"{markers}{entries}</{result}>"
        ).encode()

    def below(self, prefix: str) -> tuple[list[str], set[str]]:
        """All keys below a job's prefix, sorted, and those that are left."""
        if prefix not in self.objects:
            number = int(prefix.partition("/")[0][-12:])
            keys = [f"{prefix}results/{number:08}.png.json" for number in range(number)]
            self.objects[prefix] = keys, set(keys)
        return self.objects[prefix]

    def delete_objects(self, keys: list[str], quiet: bool) -> bytes:
        """Delete; the response lists the keys unless the request is quiet."""
        for key in keys:
            self.objects[key.partition("results/")[0]][1].discard(key)
        deleted = "" if quiet else "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
        return f"<DeleteResult>{deleted}</DeleteResult>".encode()


class Connection(asyncio.Protocol):
    """HTTP/1.1, as much of it as botocore speaks: one request at a time, Content-Length."""

    def __init__(self, stub: Stub, latency_seconds: float) -> None:
        self.stub, self.latency_seconds = stub, latency_seconds
        self.received = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.stub.open.add(transport)
        self.stub.used["connections"] += 1

    def connection_lost(self, _: Exception | None) -> None:
        self.stub.open.discard(self.transport)

    def data_received(self, data: bytes) -> None:
        """Answer, once the request is whole."""
        self.received += data
        head, ended, body = self.received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\ncontent-length: *(\d+)", head)
        if not ended or len(body) < int(length[1] if length else 0):
            return
        self.received = b""
        response = self.response(head.decode(), body)
        asyncio.get_running_loop().call_later(self.latency_seconds, self.transport.write, response)

    def response(self, head: str, body: bytes) -> bytes:
        method, target, _ = head.partition("\r\n")[0].split(" ")
        kind = "application/xml"
        operation = re.search(r"(?i)\nx-amz-target: *\w+\.(\w+)", head)
        self.stub.used["requests"] += 1
        if target in ("/used", "/close"):
            content = json.dumps(self.stub.used).encode()
            self.stub.used = dict.fromkeys(self.stub.used, 0)
            for transport in self.stub.open - {self.transport} if target == "/close" else ():
                transport.close()
        elif operation:
            content = self.stub.dynamodb(operation[1], json.loads(body))
            kind = f"application/x-amz-json-1.0\r\nx-amz-crc32: {zlib.crc32(content)}"
        else:
            query = parse_qs(urlsplit(target).query, keep_blank_values=True)
            content = self.stub.s3(method, query, body.decode())
        headers = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}"
        return f"{headers}\r\n\r\n".encode() + content


async def serve(latency_seconds: float, folder: Path) -> None:
    """Serve on a free port of 127.0.0.1, and print the URL."""
    stub = Stub()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "chain.pem")
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(stub, latency_seconds), "127.0.0.1", 0, ssl=tls
    )
    print(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]), Path(sys.argv[2])))
