"""Nothing is lost: deletes and reads over a network that fails, by Lambdas that die, in races."""

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from chalice.app import Chalice
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib import aws, deletion
from dev.emulated_aws import BUCKET, TABLE, EmulatedAws, create_bucket, create_table, emulated_aws
from tests.support.events import ALICE, BOB, ENVIRON, Response, lambda_event
from tests.support.faulty_network import Fault, FaultyNetwork, faulty_network
from tests.support.lambda_instance import FULL, SOAK, handle, lambda_instance

# The least number of faults that a run must have injected, to be worth its name.
LEAST_FAULTS = 3_000 if SOAK else 200 if FULL else 60
EXAMPLES = 600 if SOAK else 40 if FULL else 12
PREFIX = f"{ALICE}/1/"
DELETE = lambda_event("DELETE", "/jobs/delete", {"job-id": 1})
GET = lambda_event("GET", "/jobs/get", {"job-id": 1})
LIST = lambda_event("GET", "/jobs/list")
NEIGHBOURS = ((ALICE, 10), (ALICE, 11), (BOB, 1))


class Job(NamedTuple):
    """What is left of a job, as AWS itself says."""

    entry: bool
    versions: list[str]
    uploads: list[str]


NOTHING = Job(entry=False, versions=[], uploads=[])


class World(NamedTuple):
    """The emulated AWS itself, and the network through which the API reaches it."""

    emulator: EmulatedAws
    bucket: Any
    table: Any
    network: FaultyNetwork

    @property
    def environ(self) -> dict[str, str]:
        endpoints = {f"AWS_ENDPOINT_URL_{name}": self.network.url for name in ("S3", "DYNAMODB")}
        # An instance that is started ahead has made its first client before it is asked.
        ahead = {"AWS_LAMBDA_INITIALIZATION_TYPE": "provisioned-concurrency"}
        return ENVIRON | self.emulator.environ | endpoints | ahead

    def job(self, user: str = ALICE, job_id: int = 1) -> Job:
        prefix = f"{user}/{job_id}/"
        versions = self.bucket.object_versions.filter(Prefix=prefix)
        uploads = self.bucket.multipart_uploads.filter(Prefix=prefix)
        return Job(
            "Item" in self.table.get_item(Key=key(user, job_id)),
            sorted(f"{version.object_key} {version.id}" for version in versions),
            sorted(upload.object_key for upload in uploads),
        )

    def put_entry(self, user: str = ALICE, job_id: int = 1) -> None:
        item = key(user, job_id) | {"date": f"2026 {job_id}", "status": "success"}
        self.table.put_item(Item=item)

    def put(self, name: str, kind: str = "object") -> None:
        """An object of Alice's job 1, rewritten or with a delete marker, or an unfinished upload"""
        target = self.bucket.Object(PREFIX + name)
        if kind == "upload":
            target.initiate_multipart_upload().Part(1).upload(Body=b"part")
            return
        target.put(Body=b"content")
        if kind == "rewritten":
            target.put(Body=b"other content")
        elif kind == "deleted":
            target.delete()

    def remove_job(self) -> None:
        """Everything of Alice's job 1, by another way than the API's."""
        for version in self.bucket.object_versions.filter(Prefix=PREFIX):
            version.delete()
        for upload in self.bucket.multipart_uploads.filter(Prefix=PREFIX):
            upload.abort()
        self.table.delete_item(Key=key(ALICE, 1))

    def neighbours(self) -> list[Job]:
        return [self.job(*neighbour) for neighbour in NEIGHBOURS]


def key(user: str, job_id: int) -> dict[str, Any]:
    return {"userId": user, "jobId": job_id}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with emulated_aws(tmp_path_factory.mktemp("faults")) as emulator:
        create_bucket(emulator.client("s3"))
        create_table(emulator.client("dynamodb"))
        s3, dynamodb = (
            emulator.session.resource(name, endpoint_url=emulator.endpoint)
            for name in ("s3", "dynamodb")
        )
        port = int(emulator.endpoint.rpartition(":")[2])
        with faulty_network(port) as network, pytest.MonkeyPatch.context() as patch:
            world = World(emulator, s3.Bucket(BUCKET), dynamodb.Table(TABLE), network)
            for user, job_id in NEIGHBOURS:
                world.put_entry(user, job_id)
                for name in ("a.png", "results/a.png.json"):
                    world.bucket.put_object(Key=f"{user}/{job_id}/{name}", Body=b"x")
                world.bucket.Object(f"{user}/{job_id}/b.png").initiate_multipart_upload()
            for name, value in world.environ.items():
                patch.setenv(name, value)
            aws.botocore_client.cache_clear()
            yield world
        aws.botocore_client.cache_clear()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses between attempts, short time-outs, and more than one DeleteObjects at a time."""
    monkeypatch.setattr(aws, "time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setattr(aws, "READ_SECONDS", (0.15,))
    monkeypatch.setattr(deletion, "KEYS_A_REQUEST", 2)
    aws.botocore_client.cache_clear()


# --- Faults

KINDS = st.sampled_from(["object", "rewritten", "deleted", "upload"])
NAMES = st.sampled_from(["DONE", "a.png", "b.png", "results/a.png.json", "results/ü &<.json"])
CONTENTS = st.lists(st.tuples(NAMES, KINDS), min_size=1, max_size=6)
# Two of each but the stalls, which take their time.
FAULT = st.sampled_from([*[None] * 6, *Fault, *list(Fault)[: Fault.STALL.value - 1]])
FAULTS = st.lists(FAULT, min_size=2, max_size=12)
REQUESTS = st.sampled_from([DELETE, DELETE, DELETE, GET, LIST])


def test_a_file_never_outlives_its_entry_even_if_requests_fail(
    app: Chalice, world: World, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    before = world.neighbours()
    injected = world.network.injected
    injected.clear()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=not SOAK,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(
        has_entry=st.sampled_from([True, True, True, False]),
        contents=CONTENTS,
        steps=st.lists(st.tuples(REQUESTS, FAULTS), min_size=1, max_size=4),
    )
    def requests_fail(
        has_entry: bool,
        contents: list[tuple[str, str]],
        steps: list[tuple[dict[str, Any], list[Fault | None]]],
    ) -> None:
        world.network.plan()
        world.remove_job()
        for content in contents:
            world.put(*content)
        if has_entry:
            world.put_entry()
        has = world.job()
        for request, faults in steps:
            had = has
            world.network.plan(*faults)
            response = handle(app, request, seconds=6)
            has = world.job()
            check(response, request, had, has)
        world.network.plan()
        assert handle(app, DELETE).status == 200
        assert world.job() == NOTHING

    requests_fail()
    assert world.neighbours() == before
    total = sum(injected.values())
    with capsys.disabled():
        print(f"\n{total} faults injected:", {fault.name: n for fault, n in injected.items()})
    assert set(injected) == set(Fault)
    assert total >= LEAST_FAULTS


def check(response: Response, request: dict[str, Any], had: Job, has: Job) -> None:
    """The promise, for a request that found the job as it `had` been and left what it `has`."""
    if request is not DELETE:
        assert has == had
        assert response.status in (
            {200, 503} | ({404} if request is GET and not had.entry else set())
        )
        return
    assert response.status in (200, 500, 503)
    if response.status == 200:
        assert has == NOTHING
    if has.versions or has.uploads:
        assert has.entry == had.entry, f"files outlived their entry: {has}"
    assert set(has.versions) <= set(had.versions)
    assert set(has.uploads) <= set(had.uploads)


@pytest.mark.parametrize("seconds", [3.5, 6, 9] if SOAK else [5])
def test_a_response_comes_in_time_from_a_network_that_only_stalls(
    seconds: float, app: Chalice, world: World
) -> None:
    """With the time-outs that are deployed, in real time."""
    world.remove_job()
    world.put_entry()
    world.put("a.png")
    for good_requests in range(4) if SOAK else [2]:
        world.network.plan(*[None] * good_requests, *[Fault.STALL] * 99)
        aws.botocore_client.cache_clear()
        response = handle(app, DELETE, seconds)
        assert response.status == 503
        assert world.job().entry
    world.network.plan()
    assert handle(app, DELETE).status == 200


# --- A Lambda that dies, and races


def put_job(world: World) -> None:
    world.network.plan()
    world.remove_job()
    world.put_entry()
    for name, kind in (("a.png", "rewritten"), ("b.png", "upload"), ("c.png", "deleted")):
        world.put(name, kind)


def test_a_file_never_outlives_its_entry_wherever_the_lambda_dies(
    app: Chalice, world: World
) -> None:
    """It dies before each of its requests."""
    before = world.neighbours()
    for killed in itertools.count():
        put_job(world)
        had = world.job()
        world.network.plan(*[None] * killed, Fault.STALL)
        instance = lambda_instance(DELETE)
        held = is_held(world, lambda: not instance.is_alive())  # noqa: B023  it is called at once
        instance.kill()
        instance.join()
        if not held:
            break
        has = world.job()
        if has.versions or has.uploads:
            assert has.entry, f"files outlived their entry: {has}"
        assert set(has.versions) <= set(had.versions)
        world.network.plan()
        assert handle(app, DELETE).status == 200
        assert world.job() == NOTHING
    assert instance.exitcode == 0
    assert world.job() == NOTHING
    assert killed >= 8
    assert world.neighbours() == before


def is_held(world: World, has_ended: Callable[[], bool]) -> bool:
    """Wait until a request of a delete stalls; False where the delete has ended before."""
    while not world.network.stalled.wait(0.005):
        if has_ended():
            return False
    return True


def writes_to_it(app: Chalice, world: World) -> None:
    """As the uploader and the processor do, but without the condition that they must set."""
    world.put("results/late.png.json")
    # Where the upload was aborted before, S3 refuses.
    for upload in world.bucket.multipart_uploads.filter(Prefix=PREFIX):
        with suppress(world.bucket.meta.client.exceptions.NoSuchUpload):
            parts = upload.parts.all()
            done = [{"PartNumber": part.part_number, "ETag": part.e_tag} for part in parts]
            upload.complete(MultipartUpload={"Parts": done})
    # A stub of the entry may come back.
    world.table.update_item(
        Key=key(ALICE, 1),
        UpdateExpression="SET #s = :s",
        ExpressionAttributeNames={"#s": "status"},
        ExpressionAttributeValues={":s": "success"},
    )


def deletes_it_too(app: Chalice, world: World) -> None:
    assert handle(app, DELETE).status == 200


@pytest.mark.parametrize("somebody", [writes_to_it, deletes_it_too])
def test_no_delete_fails_in_a_race_and_the_next_one_leaves_nothing(
    somebody: Callable[[Chalice, World], None], app: Chalice, world: World
) -> None:
    """Somebody reads the job and does something to it between each two requests of a delete."""
    before = world.neighbours()
    for held in itertools.count():
        put_job(world)
        world.network.plan(*[None] * held, Fault.STALL)
        with ThreadPoolExecutor(1) as pool:
            delete = pool.submit(handle, app, DELETE)
            if not is_held(world, delete.done):
                break
            assert handle(app, LIST).status == 200
            assert handle(app, GET).status in (200, 404)
            somebody(app, world)
            world.network.released.set()
            assert delete.result().status == 200
        world.network.plan()
        if somebody is not writes_to_it:
            assert world.job() == NOTHING
        assert handle(app, DELETE).status == 200
        assert world.job() == NOTHING
        assert handle(app, GET).status == 404
    assert delete.result().status == 200
    assert held >= 8
    assert world.neighbours() == before
