# In a file of its own: packer before 1.7, which has amazon-ebs built in, does not know this block.
packer {
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = ">= 1.2"
    }
  }
}
