"""The packaged stack, deployed by CloudFormation onto the emulated AWS."""

import json
from pathlib import Path
from typing import Any

import yaml

from dev.emulated_aws import EmulatedAws, create_bucket

STACK = "jobs-api"
GOLDEN = Path(__file__).parent.parent / "stack" / "template.yaml"
TEMPLATE: dict[str, Any] = yaml.load(GOLDEN.read_bytes(), yaml.CSafeLoader)


def properties(name: str, template: dict[str, Any] = TEMPLATE) -> dict[str, Any]:
    """The properties of a resource of a template."""
    found: dict[str, Any] = template["Resources"][name]["Properties"]
    return found


def deploy_stack(aws: EmulatedAws, build: Path, origin: str, kind: str) -> dict[str, str]:
    """Create or update the stack by CloudFormation, as `sam deploy` does; its outputs."""
    s3, cloudformation = aws.client("s3"), aws.client("cloudformation")
    if kind == "create":
        create_bucket(s3, "code")
    s3.upload_file(str(build / "deployment.zip"), "code", "deployment.zip")
    template = yaml.load((build / "template.yaml").read_bytes(), yaml.CSafeLoader)
    properties("APIHandler", template)["CodeUri"] = "s3://code/deployment.zip"
    getattr(cloudformation, f"{kind}_stack")(
        StackName=STACK,
        TemplateBody=json.dumps(template),
        Parameters=[{"ParameterKey": "AllowedOrigin", "ParameterValue": origin}],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )
    waiter = cloudformation.get_waiter(f"stack_{kind}_complete")
    waiter.wait(StackName=STACK, WaiterConfig={"Delay": 1})
    [stack] = cloudformation.describe_stacks(StackName=STACK)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    set_responses(aws.client("apigateway"), outputs["RestAPIId"], template, origin)
    return outputs


def set_responses(gateway: Any, api: str, template: Any, origin: str) -> None:
    """Set the template's gateway responses and preflights, on which ministack has no effect."""
    text = json.dumps(template).replace("${AllowedOrigin}", origin)
    template = json.loads(text, object_hook=lambda each: each.get("Fn::Sub", each))
    api_properties = properties("RestAPI", template)
    for kind, response in api_properties["GatewayResponses"].items():
        headers = response["ResponseParameters"]["Headers"].items()
        gateway.put_gateway_response(
            restApiId=api,
            responseType=kind,
            responseParameters={f"gatewayresponse.header.{k}": v for k, v in headers},
            responseTemplates=response["ResponseTemplates"],
            **({"statusCode": str(response["StatusCode"])} if "StatusCode" in response else {}),
        )
    ids = {each["path"]: each["id"] for each in gateway.get_resources(restApiId=api)["items"]}
    for path, methods in api_properties["DefinitionBody"]["paths"].items():
        integration = methods["options"]["x-amazon-apigateway-integration"]
        parameters = integration["responses"]["default"]["responseParameters"]
        where = {
            "restApiId": api,
            "resourceId": ids[path],
            "httpMethod": "OPTIONS",
            "statusCode": "200",
        }
        gateway.put_method_response(**where, responseParameters=dict.fromkeys(parameters, False))
        gateway.put_integration_response(**where, responseParameters=parameters)
    gateway.create_deployment(restApiId=api, stageName="api")
