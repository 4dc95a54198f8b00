"""Imported by a zygote that is to serve: AWS's service descriptions are read once, not by each child."""

import boto3

for _service in ("ec2", "iam"):
    boto3.client(_service, region_name="eu-central-1", aws_access_key_id="none", aws_secret_access_key="none")
