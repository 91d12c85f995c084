"""The running app over sockets: dev/server.py, with verified tokens, in front of ministack."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlencode

import pytest
import urllib3
from botocore.config import Config

from dev import demo
from dev.emulated_aws import (
    TABLE,
    EmulatedAws,
    Pool,
    create_bucket,
    create_pool,
    create_table,
    create_user,
    emulated_aws,
    log_in,
)
from dev.processes import free_port, wait_for
from dev.run import local_api
from tests.support import openapi

EMAIL = "alice@example.com"
IMAGES = demo.Job("success", "Images", ["a.png", "b.png", "c.png"])


class Running(NamedTuple):
    """The API, the AWS behind it, and two users of it."""

    url: str
    aws: EmulatedAws
    pool_arn: str
    alice: str
    tokens: dict[str, str]
    bobs_token: str
    other_pools_token: str
    expired_token: str
    http: urllib3.PoolManager
    log: Path

    def __call__(
        self,
        method: str,
        path: str,
        token: str | None = None,
        headers: dict[str, str] | None = None,
        **query: str | int,
    ) -> urllib3.BaseHTTPResponse:
        """Call the API, as Alice where no token is given; an empty token sends no header.

        Whatever it answers has to be what openapi.yaml says.
        """
        token = self.tokens["IdToken"] if token is None else token
        sent = ({"Authorization": token} if token else {}) | (headers or {})
        names = {name.replace("_", "-"): value for name, value in query.items()}
        url = f"{self.url}{path}?{urlencode(names, quote_via=quote)}"
        answer = self.http.request(method, url, headers=sent, retries=False)
        openapi.check(method, path, answer.status, answer.headers, answer.data)
        return answer

    def put_job(self, job_id: int) -> dict[str, str]:
        """A finished job of Alice with real files; what its objects' files are called."""
        item, objects = demo.job_data(self.alice, job_id, IMAGES)
        demo.put_objects(self.aws.endpoint, objects)
        table = self.aws.session.resource("dynamodb", endpoint_url=self.aws.endpoint).Table(TABLE)
        table.put_item(Item=item)
        names: dict[str, str] = item["objectUuidNames"]
        return names


def expired_token(aws: EmulatedAws, pool: Pool) -> str:
    """Alice's ID token of an hour ago."""
    # Cognito has no such validity, and boto3 knows it; the emulator takes it.
    config = Config(parameter_validation=False)
    cognito = aws.session.client("cognito-idp", endpoint_url=aws.endpoint, config=config)
    client = cognito.create_user_pool_client(
        UserPoolId=pool.arn.rpartition("/")[2],
        ClientName="expired",
        ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH"],
        IdTokenValidity=-1,
    )["UserPoolClient"]
    return log_in(cognito, Pool(pool.arn, client["ClientId"]), EMAIL)["IdToken"]


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder: Path = tmp_path_factory.mktemp("local")
    with emulated_aws(folder) as aws:
        create_table(aws.client("dynamodb"))
        create_bucket(aws.client("s3"))
        cognito = aws.client("cognito-idp")
        pool, other_pool = create_pool(cognito), create_pool(cognito)
        alice = create_user(cognito, pool, EMAIL)
        for user_pool, email in ((pool, "bob@example.com"), (other_pool, EMAIL)):
            create_user(cognito, user_pool, email)
        port = free_port()
        with local_api(aws, pool.arn, port, folder / "api.log") as api:
            url = f"http://127.0.0.1:{port}"
            wait_for(f"{url}/jobs/list", api)
            yield Running(
                url,
                aws,
                pool.arn,
                alice,
                log_in(cognito, pool, EMAIL),
                log_in(cognito, pool, "bob@example.com")["IdToken"],
                log_in(cognito, other_pool, EMAIL)["IdToken"],
                expired_token(aws, pool),
                urllib3.PoolManager(),
                folder / "api.log",
            )
