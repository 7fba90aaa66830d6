"""Events in the shape of AWS CloudTrail: some 80 fields each, several hundred paths in all, always the same ones."""

import random
from typing import Any

_SERVICES = {
    "s3.amazonaws.com": ("GetObject", "PutObject", "ListBuckets", "GetBucketAcl", "DeleteObject"),
    "ec2.amazonaws.com": ("RunInstances", "DescribeInstances", "TerminateInstances", "CreateSecurityGroup"),
    "iam.amazonaws.com": ("CreateRole", "AttachRolePolicy", "GetUser", "CreateAccessKey"),
    "sts.amazonaws.com": ("AssumeRole", "GetCallerIdentity"),
    "kms.amazonaws.com": ("Decrypt", "GenerateDataKey"),
    "lambda.amazonaws.com": ("Invoke20150331", "UpdateFunctionCode20150331v2"),
    "dynamodb.amazonaws.com": ("PutItem", "Query", "DescribeTable"),
    "signin.amazonaws.com": ("ConsoleLogin",),
}
_REGIONS = ("us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-south-1")
_AGENTS = (
    "aws-cli/2.15.30 Python/3.11.8 Linux/6.1.0 exe/x86_64", "Boto3/1.34.51 md/Botocore#1.34.51 ua/2.0 os/linux#5.10",
    "console.amazonaws.com", "[S3Console/0.4, aws-internal/3]", "APN/1.0 HashiCorp/1.0 Terraform/1.7.4",
)  # fmt: skip


def cloudtrail_events(count: int, seed: int = 17) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    return [_event(chance, number) for number in range(count)]


def _event(chance: random.Random, number: int) -> dict[str, Any]:
    service = chance.choice(list(_SERVICES))
    name, region = chance.choice(_SERVICES[service]), chance.choice(_REGIONS)
    account = str(chance.choice((123456789012, 210987654321, 1234567890)).__format__("012d"))
    hour = f"2026-07-{chance.randrange(1, 30):02d}T{chance.randrange(24):02d}"
    failed = chance.random() < 0.1
    made: dict[str, Any] = {
        "eventVersion": chance.choice(("1.08", "1.09", "1.10")),
        "userIdentity": _identity(chance, account, hour),
        "eventTime": f"{hour}:{chance.randrange(60):02d}:00Z",
        "eventSource": service,
        "eventName": name,
        "awsRegion": region,
        "sourceIPAddress": f"10.{chance.randrange(4)}.{chance.randrange(4)}.{chance.randrange(9)}",
        "userAgent": chance.choice(_AGENTS),
        "requestParameters": _request(chance, service, account),
        "responseElements": None if chance.random() < 0.5 else _response(chance, service, hour),
        "additionalEventData": {
            "SignatureVersion": "SigV4", "CipherSuite": "ECDHE-RSA-AES128-GCM-SHA256",
            "bytesTransferredIn": float(chance.randrange(4)), "bytesTransferredOut": chance.randrange(5000),
            "AuthenticationMethod": "AuthHeader", "x-amz-id-2": f"{chance.getrandbits(64):016x}=",
        },
        "requestID": f"{chance.getrandbits(32):08X}", "eventID": f"{number:08d}-aaaa-4bbb-8ccc-{number:012d}",
        "readOnly": name.startswith(("Get", "List", "Describe")), "managementEvent": chance.random() < 0.7,
        "resources": [
            {"ARN": f"arn:aws:{service.partition('.')[0]}:{region}:{account}:r{chance.randrange(9)}",
             "accountId": account, "type": chance.choice(("AWS::S3::Object", "AWS::S3::Bucket", "AWS::KMS::Key"))}
            for _ in range(chance.randrange(1, 3))
        ],
        "eventType": "AwsApiCall", "recipientAccountId": account,
        "eventCategory": chance.choice(("Management", "Data")), "sharedEventID": f"{chance.randrange(50)}",
        "apiVersion": chance.choice(("2016-11-15", "2010-05-08", "2012-10-17")),
        "tlsDetails": {
            "tlsVersion": chance.choice(("TLSv1.2", "TLSv1.3")), "cipherSuite": "TLS_AES_128_GCM_SHA256",
            "clientProvidedHostHeader": f"{service.partition('.')[0]}.{region}.amazonaws.com",
        },
        "edgeDeviceDetails": {f"field{n:02d}": _small(chance) for n in range(30)},
    }  # fmt: skip
    if failed:
        made |= {
            "errorCode": chance.choice(("AccessDenied", "ThrottlingException")),
            "errorMessage": "User is not allowed",
        }
    return made


def _identity(chance: random.Random, account: str, hour: str) -> dict[str, Any]:
    user = f"user-{chance.randrange(30)}"
    return {
        "type": chance.choice(("AssumedRole", "IAMUser", "Root")),
        "principalId": f"AROA{chance.randrange(20):017d}:{user}",
        "arn": f"arn:aws:sts::{account}:assumed-role/admin/{user}",
        "accountId": account, "accessKeyId": f"ASIA{chance.randrange(30):016d}", "userName": user,
        "sessionContext": {
            "sessionIssuer": {"type": "Role", "principalId": f"AROA{chance.randrange(20):017d}", "accountId": account,
                              "arn": f"arn:aws:iam::{account}:role/admin", "userName": "admin"},
            "attributes": {"creationDate": f"{hour}:00:00Z", "mfaAuthenticated": chance.choice(("true", "false"))},
            "webIdFederationData": {},
        },
    }  # fmt: skip


def _request(chance: random.Random, service: str, account: str) -> dict[str, Any]:
    kind = service.partition(".")[0]
    own = {
        "s3": {"bucketName": f"logs-{chance.randrange(9)}", "Host": "s3.amazonaws.com",
               "key": f"2026/07/{chance.randrange(30)}", "x-amz-acl": "private", "versioning": ""},
        "ec2": {"instancesSet": {"items": [{"instanceId": f"i-{chance.randrange(50):017x}", "maxCount": 1}]},
                "minCount": 1, "blockDeviceMapping": {}, "monitoring": {"enabled": False},
                "ebsOptimized": True, "ports": [22, 443]},
        "iam": {"roleName": f"role-{chance.randrange(9)}", "assumeRolePolicyDocument":
                '{"Version":"2012-10-17","Statement":[{"Effect":"Allow"}]}', "tags": ["2026-07-29", "team"]},
        "sts": {"roleArn": f"arn:aws:iam::{account}:role/r", "durationSeconds": chance.choice((900, 3600)),
                "externalId": str(chance.randrange(100))},
        "kms": {"encryptionAlgorithm": "SYMMETRIC_DEFAULT",
                "encryptionContext": {"aws:lambda:FunctionArn": "f", "v": "1"}},
        "lambda": {"functionName": f"fn-{chance.randrange(9)}", "publish": False, "memory": [128, 256.5, "512"]},
        "dynamodb": {"tableName": f"t{chance.randrange(5)}", "limit": chance.randrange(3),
                     "key": {"id": {"s": "2026-07-29"}}},
        "signin": {"LoginTo": "https://console.aws.amazon.com/console/home", "MobileVersion": "No", "MFAUsed": "Yes"},
    }[kind]  # fmt: skip
    return {f"{kind}Parameters": own, "common": {"dryRun": chance.choice((True, False)), "page": chance.randrange(5)}}


def _response(chance: random.Random, service: str, hour: str) -> dict[str, Any]:
    return {
        "requestId": f"{chance.randrange(100):08x}", "credentials": {"expiration": "Jul 29, 2026 10:00:00 AM"},
        f"{service.partition('.')[0]}Result": {"code": chance.choice(("0", 0, 200, "200")), "at": f"{hour}:00:00.000Z"},
        "_return": True, "empty": "", "dates": [f"{hour}:00:00Z", "2026-07-29"],
    }  # fmt: skip


def _small(chance: random.Random) -> Any:
    return chance.choice(
        (0, 1, 1.5, "1", "01", "1.0", True, "true", "2026-07-29", "2026-07-29 00:00:00", "", "null", None)
    )
