# An image with hsm-enrol and the Luna client, and nothing of any instance in it.
#   make deb
#   packer init packaging/ami
#   packer build -var region=eu-central-1 -var luna_client=./luna-client.tar -var subnet=subnet-... packaging/ami
# The builder needs no IAM role and must not be in the verifier's policy; there are no settings in the image, so the
# unit is skipped on the builder in any case.

variable "region" {
  type = string
}

variable "subnet" {
  type = string
}

variable "package" {
  type        = string
  description = "The .deb that `make deb` built for Debian 12."
  default     = "dist/hsm-enrol_0.1.0_amd64.deb"
}

variable "luna_client" {
  type        = string
  description = "The vendor's Luna client, an archive with install.sh, from your support portal."
}

source "amazon-ebs" "debian" {
  region                      = var.region
  subnet_id                   = var.subnet
  instance_type               = "t3.small"
  ssh_username                = "admin"
  ami_name                    = "hsm-enrol-${formatdate("YYYYMMDD-hhmmss", timestamp())}"
  associate_public_ip_address = true

  source_ami_filter {
    owners      = ["136693071363"] # Debian
    most_recent = true
    filters = {
      name                = "debian-12-amd64-*"
      virtualization-type = "hvm"
      root-device-type    = "ebs"
    }
  }

  # IMDSv2 only, and not for containers. Packer 1.7 and later; the tests here have an older one and leave it out.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  encrypt_boot = true
}

build {
  sources = ["source.amazon-ebs.debian"]

  provisioner "file" {
    source      = var.package
    destination = "/tmp/hsm-enrol.deb"
  }

  provisioner "file" {
    source      = var.luna_client
    destination = "/tmp/luna-client.tar"
  }

  provisioner "shell" {
    execute_command = "sudo sh '{{ .Path }}'"
    script          = "packaging/ami/provision.sh"
  }
}
